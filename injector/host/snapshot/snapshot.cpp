#include "injector/host/snapshot/snapshot.hpp"

#include <dirent.h>

#include <array>
#include <cstring>
#include <set>

#include "injector/change/inverse.hpp"
#include "injector/host/snapshot/snapshot_network.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

// Calls back with the name of every folder in `path`.
void each_folder(const std::string& path, const std::function<void(std::string_view)>& each) {
  auto* folder = opendir(path.c_str());
  if (!folder) return;
  while (auto* entry = readdir(folder))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') each(entry->d_name);
  closedir(folder);
}

void add_mounts(const std::vector<Mount>& mounts, HostState& state) {
  std::map<std::string, int> stacked;
  for (auto& mount : mounts) {
    auto depth = stacked[mount.point]++;
    state[fmt::format("mount {}{}", mount.point, depth ? fmt::format(" (over {} more)", depth) : "")] =
        fmt::format("{} {} {} of {} with {}", mount.type, mount.options, mount.root, mount.source,
                    mount.super_options);
  }
}

struct Knob {
  const char* file;
  std::array<std::string_view, 2> defaults;  // not worth a line
};

constexpr Knob knobs_v2[] = {
    {"io.max", {"", ""}},
    {"cpu.max", {"max 100000", ""}},
    {"cpu.weight", {"100", ""}},
    {"memory.max", {"max", ""}},
    {"memory.high", {"max", ""}},
    {"memory.swap.max", {"max", ""}},
    {"io.weight", {"default 100", "100"}},
    {"pids.max", {"max", ""}},
    {"cgroup.freeze", {"0", ""}},
    {"cgroup.subtree_control", {"", ""}},
};
// memory.limit_in_bytes without a limit is the largest page-aligned long.
constexpr Knob knobs_blkio[] = {
    {"blkio.throttle.read_bps_device", {"", ""}},
    {"blkio.throttle.write_bps_device", {"", ""}},
    {"blkio.throttle.read_iops_device", {"", ""}},
    {"blkio.throttle.write_iops_device", {"", ""}},
};
constexpr Knob knobs_cpu[] = {{"cpu.cfs_quota_us", {"-1", ""}}, {"cpu.cfs_period_us", {"100000", ""}}};
constexpr Knob knobs_memory[] = {{"memory.limit_in_bytes", {"9223372036854771712", "9223372036854710272"}}};
constexpr Knob knobs_pids[] = {{"pids.max", {"max", ""}}};
constexpr Knob knobs_net_cls[] = {{"net_cls.classid", {"0", ""}}};
constexpr Knob knobs_freezer[] = {{"freezer.self_freezing", {"0", ""}}};

std::vector<Knob> knobs_of(const Mount& mount) {
  if (mount.type == "cgroup2") return {std::begin(knobs_v2), std::end(knobs_v2)};
  std::vector<Knob> out;
  auto take = [&](std::string_view controller, std::span<const Knob> knobs) {
    auto options = "," + mount.super_options + ",";
    if (options.find("," + std::string(controller) + ",") != std::string::npos)
      out.insert(out.end(), knobs.begin(), knobs.end());
  };
  take("blkio", knobs_blkio);
  take("cpu", knobs_cpu);
  take("memory", knobs_memory);
  take("pids", knobs_pids);
  take("freezer", knobs_freezer);
  take("net_cls", knobs_net_cls);
  return out;
}

std::string one_line(std::string_view text) {
  std::string out(trimmed(text));
  for (std::size_t at = 0; (at = out.find('\n', at)) != std::string::npos; at += 2)
    out.replace(at, 1, "; ");
  return out;
}

void add_cgroup(const std::string& path, const std::vector<Knob>& knobs, HostState& state) {
  for (auto& knob : knobs) {
    auto text = read_file(path + "/" + knob.file);
    if (!text) continue;
    auto value = one_line(*text);
    if (value.empty() || value == knob.defaults[0] || value == knob.defaults[1]) continue;
    state[fmt::format("cgroup {} {}", path, knob.file)] = value;
  }
  each_folder(path,
              [&](std::string_view name) { add_cgroup(fmt::format("{}/{}", path, name), knobs, state); });
}

void add_cgroups(const std::vector<Mount>& mounts, HostState& state) {
  for (auto& mount : mounts)
    if (mount.type == "cgroup" || mount.type == "cgroup2")
      if (auto knobs = knobs_of(mount); !knobs.empty()) add_cgroup(mount.point, knobs, state);
}

// Those that faults change or that decide how a host behaves under one.
void add_sysctls(HostState& state) {
  static constexpr const char* names[] = {"kernel/panic",
                                          "kernel/pid_max",
                                          "kernel/sysrq",
                                          "kernel/threads-max",
                                          "fs/file-max",
                                          "fs/nr_open",
                                          "vm/dirty_background_bytes",
                                          "vm/dirty_background_ratio",
                                          "vm/dirty_bytes",
                                          "vm/dirty_ratio",
                                          "vm/min_free_kbytes",
                                          "vm/overcommit_memory",
                                          "vm/overcommit_ratio",
                                          "vm/swappiness",
                                          "net/core/netdev_max_backlog",
                                          "net/core/rmem_max",
                                          "net/core/somaxconn",
                                          "net/core/wmem_max",
                                          "net/ipv4/conf/all/rp_filter",
                                          "net/ipv4/ip_forward",
                                          "net/ipv4/ip_local_port_range",
                                          "net/ipv4/tcp_max_syn_backlog",
                                          "net/ipv4/tcp_rmem",
                                          "net/ipv4/tcp_syncookies",
                                          "net/ipv4/tcp_wmem",
                                          "net/ipv6/conf/all/disable_ipv6",
                                          "net/netfilter/nf_conntrack_max"};
  for (auto* name : names)
    if (auto text = read_file(fmt::format("/proc/sys/{}", name))) {
      std::string dotted = name;
      std::replace(dotted.begin(), dotted.end(), '/', '.');
      state["sysctl " + dotted] = trimmed(*text);
    }
}

// Those of each device that the kernel changes along with what a verb puts back, whatever verbs there are.
void add_device_sysctls(HostState& state) {
  std::set<std::string_view> all;
  for (auto* verb : undo_verbs())
    all.insert(verb->changes_along.begin(), verb->changes_along.end());
  for (const auto setting : all) {
    const auto at = setting.find('*');
    if (at == setting.npos) continue;
    const auto before = std::string(setting.substr(0, at)), behind = std::string(setting.substr(at + 1));
    each_folder("/proc/sys/" + before, [&](std::string_view device) {
      if (const auto text = read_file(fmt::format("/proc/sys/{}{}{}", before, device, behind)))
        state[fmt::format("sysctl {}{}{}", before, device, behind)] = trimmed(*text);
    });
  }
}

// T is stopped by a signal; t, stopped by a tracer, is a debugger's business (proc_pid_stat(5)).
void add_stopped(HostState& state) {
  each_folder("/proc", [&](std::string_view pid) {
    if (pid[0] < '0' || pid[0] > '9') return;
    auto stat = read_file(fmt::format("/proc/{}/stat", pid));
    if (!stat) return;
    auto open = stat->find('('), close = stat->rfind(')');
    if (close == std::string::npos || close + 2 >= stat->size() || (*stat)[close + 2] != 'T') return;
    state[fmt::format("process {}[{}]", stat->substr(open + 1, close - open - 1), pid)] = "stopped";
  });
}

// What a thing is that a snapshot has no line for.
std::string_view without(std::string_view name) {
  if (name.starts_with("cgroup ")) return "at its default";
  if (name.starts_with("process ")) return "not stopped";
  return "";
}

std::string difference(const std::string& name, const std::string* before, const std::string* after) {
  auto absent = without(name);
  if (before && after) return fmt::format("{}: was {}, is {}", name, *before, *after);
  if (!absent.empty())
    return fmt::format("{}: was {}, is {}", name, before ? *before : absent, after ? *after : absent);
  return before ? fmt::format("{} is gone: it was {}", name, *before)
                : fmt::format("{} is new: {}", name, *after);
}

// A setting that came or went with its device, of which the device's own line tells: "sysctl
// net/ipv6/conf/eth0/mtu".
bool went_with_device(const std::string& name, const HostState& before, const HostState& after) {
  if (!name.starts_with("sysctl net/")) return false;
  const auto end = name.rfind('/'), begin = name.rfind('/', end - 1) + 1;
  const auto link = "link " + name.substr(begin, end - begin);
  return before.contains(link) != after.contains(link);
}

void each_difference(const HostState& before, const HostState& after, const auto& all) {
  const auto tell = [&](const std::string& name, const std::string* was, const std::string* is) {
    if ((was && is) || !went_with_device(name, before, after)) all(name, was, is);
  };
  auto old = before.begin();
  auto now = after.begin();
  while (old != before.end() || now != after.end()) {
    auto order = old == before.end() ? 1 : now == after.end() ? -1 : old->first.compare(now->first);
    if (order < 0) {
      tell(old->first, &old->second, static_cast<const std::string*>(nullptr)), ++old;
    } else if (order > 0) {
      tell(now->first, static_cast<const std::string*>(nullptr), &now->second), ++now;
    } else {
      if (old->second != now->second) tell(old->first, &old->second, &now->second);
      ++old, ++now;
    }
  }
}

// Of a name as snapshots give it: "filter at clsact egress of eth0, preference 1, handle 1".
std::string command_that_shows(const std::string& name) {
  const auto kind = name.substr(0, name.find(' ')),
             what = name.substr(std::min(kind.size() + 1, name.size()));
  const auto of = name.rfind(" of ");
  const auto device = of == name.npos ? "" : name.substr(of + 4, name.find(',', of) - of - 4);
  if (kind == "link") return "ip -d link show " + what;
  if (kind == "address") return "ip address show " + device;
  if (kind == "route") return "ip route show table all; ip -6 route show table all";
  if (kind == "nexthop") return "ip nexthop show";
  if (kind == "proxy") return "ip neigh show proxy";
  if (kind == "qdisc") return "tc qdisc show dev " + device;
  if (kind == "class") return "tc class show dev " + device;
  if (kind == "filter")
    return fmt::format(
        "tc filter show dev {0}; tc filter show dev {0} ingress; tc filter show dev {0} egress", device);
  if (kind == "nftables") return fmt::format("nft list {}", what);
  if (kind == "mount") return fmt::format("findmnt '{}'", what.substr(0, what.find(" (over ")));
  if (kind == "sysctl") return "sysctl " + what;
  if (kind == "process")
    return fmt::format("ps -o pid,stat,lstart,args -p {}",
                       std::atoi(what.c_str() + std::min(what.rfind('['), what.size() - 1) + 1));
  if (kind == "cgroup")
    return fmt::format("cat '{}/{}'", what.substr(0, what.rfind(' ')), what.substr(what.rfind(' ') + 1));
  return "";
}

// Names are "sq", the session's 8 hex digits, and which of its things it is, with more or less behind it.
bool of_another_session(std::string_view word, std::string_view session) {
  constexpr std::string_view hex = "0123456789abcdef";
  if (word.starts_with("sqdoctor")) return true;
  return word.size() > 10 && word.starts_with("sq") &&
         word.substr(2, 9).find_first_not_of(hex) == word.npos && word.substr(2, 8) != session;
}

// "link sq1a2b3c4d1t00", "cgroup /run/net_cls/batch/sq1a2b3c4d1 net_cls.classid"
bool names_another_session(std::string_view thing, std::string_view session) {
  while (!thing.empty()) {
    const auto end = std::min(thing.find_first_of(" /,"), thing.size());
    if (of_another_session(thing.substr(0, end), session)) return true;
    thing.remove_prefix(std::min(end + 1, thing.size()));
  }
  return false;
}

}  // namespace

HostState without_other_sessions(HostState state, std::string_view session) {
  std::erase_if(state, [&](auto& thing) { return names_another_session(thing.first, session); });
  return state;
}

HostState snapshot_host() {
  HostState state;
  auto mounts = read_mounts();
  add_mounts(mounts, state);
  add_cgroups(mounts, state);
  add_sysctls(state);
  add_device_sysctls(state);
  add_stopped(state);
  snapshot::add_devices(state);
  snapshot::add_nftables(state);
  return state;
}

std::vector<std::string> differences(const HostState& before, const HostState& after) {
  std::vector<std::string> out;
  each_difference(before, after,
                  [&](auto& name, auto* was, auto* is) { out.push_back(difference(name, was, is)); });
  return out;
}

std::vector<std::string> commands_that_show_differences(const HostState& before, const HostState& after) {
  std::vector<std::string> out;
  each_difference(before, after, [&](auto& name, auto*, auto*) {
    auto command = command_that_shows(name);
    if (!command.empty() && std::find(out.begin(), out.end(), command) == out.end())
      out.push_back(std::move(command));
  });
  return out;
}

}  // namespace squall
