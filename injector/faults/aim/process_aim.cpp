#include "injector/faults/aim/process_aim.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <sys/stat.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

std::string cgroup2_mount() {
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields{line};
    std::string device, path, type;
    if (fields >> device >> path >> type && type == "cgroup2") return path;
  }
  return "";
}

// Who else is in a cgroup (and below): they share the fault.
std::vector<Process> others_in(const std::string& folder, const std::set<pid_t>& chosen) {
  std::vector<Process> out;
  auto look = [&](const std::filesystem::path& path) {
    std::ifstream file{path / "cgroup.procs"};
    for (pid_t pid = 0; file >> pid;)
      if (!chosen.contains(pid))
        if (auto process = read_process(pid)) out.push_back(*process);
  };
  std::error_code error;
  look(folder);
  for (std::filesystem::recursive_directory_iterator it{folder, error}, end; it != end; it.increment(error))
    if (it->is_directory(error)) look(it->path());
  return out;
}

// The v2 cgroup by which the kernel tells the process from others; nothing where there is none.
std::optional<SocketCgroup> cgroup_of(const Process& process, const std::string& mount) {
  const auto& path = process.cgroup;
  struct stat info{};
  if (mount.empty() || path.empty() || path == "/" || path.starts_with("/..") ||
      ::stat((mount + path).c_str(), &info) != 0)
    return {};
  return SocketCgroup{static_cast<std::uint32_t>(std::count(path.begin(), path.end(), '/')), info.st_ino};
}

std::string list(std::vector<std::string> names) {
  constexpr std::size_t shown = 5;
  const bool more = names.size() > shown;
  names.resize(std::min(names.size(), shown));
  return fmt::format("{}{}", fmt::join(names, ", "), more ? ", …" : "");
}

// Who shares what they are recognised by is hit, so that the host's policy has a say about each.
bool tell_others(const std::string& shared, const std::vector<Process>& others, const Permits& permits,
                 ProcessAim& aim, Diagnostics& diagnostics) {
  if (others.empty()) return true;
  std::vector<std::string> names;
  for (auto& other : others) {
    names.push_back(other.to_string());
    if (permits(other)) continue;
    diagnostics.error({},
                      fmt::format("{} holds {} too, which is protected on this host and would be hit: run "
                                  "the target in a cgroup of its own, or aim at its port with listens_on",
                                  shared, names.back()));
    return false;
  }
  aim.limits.push_back(
      fmt::format("{} holds {} more processes, which are hit too: {}", shared, others.size(), list(names)));
  return true;
}

bool by_class(const std::vector<Process>& processes, const std::string& name, const Permits& permits,
              ProcessAim& aim, Diagnostics& diagnostics) {
  const auto found = net_cls::recognise(processes, name);
  if (!found) {
    diagnostics.error({}, fmt::format("{} is in no cgroup (v2) but the root, by which the kernel would match "
                                      "every process of the host, and net_cls (cgroup v1) cannot be used "
                                      "instead: {}; mount it, run the process in a cgroup of its own (a "
                                      "systemd unit has one), or aim at its port with listens_on",
                                      processes.front().to_string(), found.error()));
    return false;
  }
  for (auto id : found->class_ids)
    aim.cgroups.push_back({0, 0, id});
  for (auto& process : processes)
    for (auto& listener : listeners_of(process.pid))
      if (std::find(aim.listeners.begin(), aim.listeners.end(), listener) == aim.listeners.end())
        aim.listeners.push_back(listener);
  aim.own_groups = found->own;
  for (auto& group : aim.own_groups) {
    std::vector<std::string> names;
    for (auto& member : group->members())
      names.push_back(member.to_string());
    aim.limits.push_back(
        fmt::format("{} moved meanwhile to a net_cls group of our own below {}, where the kernel knows the "
                    "sockets by a class id; the undo moves back who is there by then",
                    list(names) + (names.size() == 1 ? " is" : " are"), group->parent().folder));
  }
  if (!tell_others("the same class id", found->others, permits, aim, diagnostics)) return false;
  aim.limits.emplace_back(
      "a process is recognised by its class id: sockets that it shares with others count as its own, what "
      "the kernel answers in its stead (RST, ICMP) does not");
  return true;
}

bool by_cgroup(const std::vector<Process>& processes, const std::string& name, const Permits& permits,
               ProcessAim& aim, Diagnostics& diagnostics) {
  const auto mount = cgroup2_mount();
  std::map<std::string, SocketCgroup> cgroups;
  std::set<pid_t> pids;
  std::vector<Process> others;
  for (auto& process : processes) {
    pids.insert(process.pid);
    if (auto cgroup = cgroup_of(process, mount))
      cgroups.emplace(process.cgroup, *cgroup);
    else
      others.push_back(process);
  }
  for (auto& [path, cgroup] : cgroups) {
    aim.cgroups.push_back(cgroup);
    aim.cgroup_folders.emplace_back(mount + path, cgroup.id);
    if (!tell_others("the cgroup " + path, others_in(mount + path, pids), permits, aim, diagnostics))
      return false;
  }
  if (!cgroups.empty())
    aim.limits.emplace_back(
        "a process is recognised by its cgroup: sockets made before it was moved there are not its own, nor "
        "are what the kernel answers "
        "in its stead (SYN-ACK, RST, ICMP); one that is started anew in a cgroup made anew, as systemd does, "
        "is not hit from then on");
  return others.empty() || by_class(others, name, permits, aim, diagnostics);
}

// Nobody but these is in their network namespace.
bool alone(const std::vector<Process>& processes) {
  const auto there = processes_beside(processes.front().pid);
  return !there.empty() && std::all_of(there.begin(), there.end(), [&](pid_t pid) {
    return std::any_of(processes.begin(), processes.end(), [&](auto& process) { return process.pid == pid; });
  });
}

}  // namespace

std::string ProcessAim::started_anew() const {
  for (auto& [folder, id] : cgroup_folders)
    if (struct stat now{}; ::stat(folder.c_str(), &now) == 0 && now.st_ino != id)
      return fmt::format("{} was made anew: what was started in it since is not hit", folder);
  return "";
}

Reach ProcessAim::reach() const {
  Reach out{.processes = processes, .cgroups = {}, .devices = Reach::Devices{}, .disks = {}};
  for (auto& [folder, id] : cgroup_folders)
    out.cgroups.push_back({folder, true});
  for (auto& group : own_groups)
    out.cgroups.push_back({group->group().folder, false});
  out.devices->network_namespace = network_namespace;
  out.devices->pid = namespace_pid;
  out.devices->everybody = alone;
  return out;
}

std::string moved_away(const std::vector<Process>& processes, const ProcessAim& aim) {
  const auto mount = cgroup2_mount();
  const auto classes = aim.own_groups.empty() ? std::nullopt : std::optional{net_cls::hierarchy()};
  for (auto& process : processes) {
    if (!is_alive(process)) continue;
    for (auto& own : aim.own_groups) {
      const auto& members = own->members();
      const bool ours =
          std::any_of(members.begin(), members.end(), [&](auto& one) { return one.pid == process.pid; });
      const auto now = classes && *classes ? cgroup::group_of(**classes, process.pid) : std::nullopt;
      if (ours && now && *now != own->group())
        return fmt::format("{} was moved out of {}, by which it was known: it is not hit since",
                           process.to_string(), own->group().path);
    }
    const auto in = [&](const std::string& path) {
      return std::any_of(aim.cgroup_folders.begin(), aim.cgroup_folders.end(),
                         [&](auto& known) { return (mount + path + "/").starts_with(known.first + "/"); });
    };
    if (aim.cgroup_folders.empty() || !in(process.cgroup)) continue;
    if (const auto now = read_process(process.pid); now && !in(now->cgroup))
      return fmt::format("{} was moved to the cgroup {}: connections that it makes there are not hit",
                         process.to_string(), now->cgroup);
  }
  return "";
}

bool find_namespace(const std::vector<Process>& processes, ProcessAim& aim, Diagnostics& diagnostics) {
  aim.processes = processes;
  aim.network_namespace = current_network_namespace();
  if (processes.empty()) return true;
  for (auto& process : processes)
    if (process.network_namespace != processes.front().network_namespace) {
      diagnostics.error({}, fmt::format("{} and {} are in different network namespaces: aim at one of them",
                                        processes.front().to_string(), process.to_string()));
      return false;
    }
  if (processes.front().network_namespace != aim.network_namespace) {
    aim.network_namespace = processes.front().network_namespace;
    aim.namespace_pid = processes.front().pid;
    aim.limits.push_back(
        fmt::format("acts in the network namespace of {}: one that is started anew in another, as a "
                    "container is, is not hit from then on",
                    processes.front().to_string()));
  }
  return true;
}

bool recognise(const std::vector<Process>& processes, const std::string& name, const Permits& permits,
               ProcessAim& aim, Diagnostics& diagnostics) {
  aim.alone = aim.namespace_pid && alone(processes);
  if (!aim.alone) return by_cgroup(processes, name, permits, aim, diagnostics);
  aim.limits.emplace_back(
      "nobody else is in that network namespace: all that passes there is meant, whatever the cgroup, also "
      "of who comes there later");
  return true;
}

void enter_groups(Transaction& transaction, const ProcessAim& aim) {
  for (auto& group : aim.own_groups)
    net_cls::enter(transaction, group);
}

std::string how_processes_are_known() {
  const auto net_cls = net_cls::hierarchy();
  const bool v2 = !cgroup2_mount().empty();
  const std::string always = "processes are recognised where they are alone in a network namespace";
  if (net_cls)
    return always + (v2 ? ", by their cgroup (v2), in its root by a net_cls class (v1)"
                        : ", and by a net_cls class (cgroup v1)");
  return fmt::format("{}{}: {}", always,
                     v2 ? ", and by their cgroup (v2); not in its root" : "; not otherwise", net_cls.error());
}

}  // namespace squall::faults
