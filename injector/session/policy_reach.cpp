// The policy before what is there: who is in a cgroup, which devices packets come by, which disk a path lies
// on. It looks anew each time it is asked.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include <sys/stat.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/host/cgroups/cgroup.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/storage/block.hpp"
#include "injector/session/policy.hpp"
#include "injector/system/listeners.hpp"
#include "injector/system/network_namespace.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
using links::Link;

std::vector<Process> processes_of(const std::vector<pid_t>& pids) {
  std::vector<Process> out;
  for (auto pid : pids)
    if (auto process = read_identity(pid)) out.push_back(std::move(*process));
  return out;
}

// But for those that were asked about already.
std::vector<Process> members_of(const Reach::Cgroup& group, const std::set<pid_t>& asked) {
  std::vector<Process> out;
  const auto add = [&](const std::string& folder) {
    auto pids = cgroup::processes({"", folder});
    std::erase_if(pids, [&](pid_t pid) { return asked.contains(pid); });
    for (auto& process : processes_of(pids))
      out.push_back(std::move(process));
  };
  add(group.folder);
  if (!group.below) return out;
  std::error_code error;
  for (fs::recursive_directory_iterator it{group.folder, error}, end; !error && it != end;
       it.increment(error))
    if (std::error_code gone; it->is_directory(gone)) add(it->path().string());
  return out;
}

bool called(const Link& link, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [&](auto& name) {
    return name == link.name ||
           std::find(link.altnames.begin(), link.altnames.end(), name) != link.altnames.end();
  });
}

// Those whose packets pass a device as well: what stands on it (a VLAN, a bridge that it is a port of), and
// its own ports.
std::vector<Link> touched_with(const std::vector<std::uint32_t>& indexes, const std::vector<Link>& all) {
  std::set<std::uint32_t> touched{indexes.begin(), indexes.end()};
  for (std::size_t before = 0; before != touched.size();) {
    before = touched.size();
    for (auto& link : all) {
      if (touched.contains(link.index) && link.master) touched.insert(link.master);
      if (link.lower && link.lower_namespace == -1 && link.kind != "veth" && touched.contains(link.lower))
        touched.insert(link.index);
    }
  }
  std::vector<Link> out;
  for (auto& link : all)
    if (touched.contains(link.index) ||
        std::find(indexes.begin(), indexes.end(), link.master) != indexes.end())
      out.push_back(link);
  return out;
}

// Nobody from elsewhere reaches whoever listens there.
bool listens_on_loopback_alone(std::uint16_t port, pid_t in) {
  std::size_t sockets = 0;
  for (auto& listener : listeners_around(in)) {
    if (listener.port != port) continue;
    if (!listener.loopback) return false;
    ++sockets;
  }
  return sockets > 0;
}

// What a path lies on, or, while it is not there, its nearest folder that is; below a loop device also what
// holds its file.
std::vector<block::Device> devices_below(fs::path path) {
  std::error_code error;
  while (!fs::exists(path, error) && path.has_relative_path())
    path = path.parent_path();
  std::vector<block::Device> out, next;
  const auto add_below = [&](const std::string& file) {
    if (auto below = block::devices_below(file))
      next.insert(next.end(), below->devices.begin(), below->devices.end());
  };
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode)) {
    if (auto device = block::find_device(path.string())) next.push_back(*device);
  } else {
    add_below(path.string());
  }
  while (!next.empty()) {
    const auto device = next.back();
    next.pop_back();
    if (std::find(out.begin(), out.end(), device) != out.end()) continue;
    out.push_back(device);
    if (const auto backing = read_file(fmt::format("/sys/block/{}/loop/backing_file", device.name)))
      add_below(std::string(trimmed(*backing)));
  }
  return out;
}

std::string meant(const std::string& name, const std::vector<std::string>& there) {
  const auto close = nearest(name, there);
  return close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close);
}

}  // namespace

std::string Policy::refuses(const Reach& reach) const {
  for (auto& rule : {refuses_processes(reach), reach.devices ? refuses_devices(*reach.devices) : "",
                     refuses_disks(reach.disks)})
    if (!rule.empty()) return rule;
  return "";
}

namespace {

std::vector<std::uint64_t> sockets_on(std::uint16_t port, pid_t in) {
  std::vector<std::uint64_t> out;
  for (auto& listener : listeners_around(in))
    if (listener.port == port) out.push_back(listener.inode);
  return out;
}

}  // namespace

void Policy::know_listeners(std::uint16_t port, const std::vector<Process>& processes) const {
  for (auto& process : processes)
    permitted_listeners_[{process.network_namespace, port}] = sockets_on(port, process.pid);
}

// Whoever listens on the port now. A search for them looks at every process of the host, so it is made when
// the sockets are others.
std::string Policy::refuses_listeners(const Reach::Devices& devices) const {
  const auto in = devices.pid ? devices.pid : ::getpid();
  auto sockets = sockets_on(*devices.port, in);
  auto& known = permitted_listeners_[{devices.network_namespace, *devices.port}];
  if (sockets.empty() || sockets == known) return "";
  TargetSpec target;
  target.listens_on = *devices.port;
  auto holders = find_processes(target);
  if (!holders) return "";
  std::erase_if(*holders,
                [&](auto& process) { return process.network_namespace != network_namespace_of(in); });
  if (auto rule = refuses(*holders); !rule.empty())
    return fmt::format("{}, and listens on port {}", rule, *devices.port);
  known = std::move(sockets);
  return "";
}

std::string Policy::refuses_processes(const Reach& reach) const {
  std::set<pid_t> pids;
  for (auto& process : reach.processes)
    if (is_alive(process)) pids.insert(process.pid);
  if (auto rule = refuses(processes_of({pids.begin(), pids.end()})); !rule.empty()) return rule;
  for (auto& group : reach.cgroups)
    if (auto rule = refuses(members_of(group, pids)); !rule.empty())
      return fmt::format(
          "{}, and is in the cgroup {}, which the fault acts on: run the target in a cgroup of its own", rule,
          group.folder);
  if (reach.devices && reach.devices->port)
    if (auto rule = refuses_listeners(*reach.devices); !rule.empty()) return rule;
  if (!reach.devices || !reach.devices->everybody || reach.devices->pid == 0) return "";
  if (auto rule = refuses(processes_of(processes_beside(reach.devices->pid))); !rule.empty())
    return rule + ", and is in the network namespace that the fault acts in";
  return "";
}

std::string Policy::refuses_devices(const Reach::Devices& devices) const {
  if (protected_interfaces.empty()) return "";
  std::vector<Link> all;
  bool loopback_alone = devices.loopback_alone;
  in_network_namespace_if_there(devices.network_namespace, devices.pid, [&] { all = links::all(); });
  if (devices.port)
    loopback_alone =
        loopback_alone || listens_on_loopback_alone(*devices.port, devices.pid ? devices.pid : ::getpid());
  const auto touched = devices.every ? all : touched_with(devices.indexes, all);
  for (auto& link : touched) {
    if (!called(link, protected_interfaces) || (devices.every && loopback_alone && !link.loopback)) continue;
    const auto rule =
        fmt::format("the interface \"{}\" is protected (\"protected_interfaces\" in {})", link.name, source);
    if (devices.every) return fmt::format("{}, and what the fault means may come by any interface", rule);
    const bool itself =
        std::find(devices.indexes.begin(), devices.indexes.end(), link.index) != devices.indexes.end();
    return itself ? rule : rule + ", and its packets pass the one aimed at";
  }
  return "";
}

std::string Policy::refuses_disks(const std::vector<std::string>& disks) const {
  if (disks.empty()) return "";
  for (auto& path : protected_paths)
    for (auto& below : devices_below(path))
      for (auto& id : disks) {
        const auto disk = block::find_device(id);
        if (disk && block::files_reaching(*disk).contains(below.number()))
          return fmt::format(
              "the path \"{}\" is protected (\"protected_paths\" in {}), and is on the same disk, {}", path,
              source, disk->to_string());
      }
  return "";
}

std::vector<std::string> Policy::findings() const {
  std::vector<std::string> out;
  std::vector<std::string> names;
  const auto all = links::all();
  for (auto& link : all) {
    names.push_back(link.name);
    names.insert(names.end(), link.altnames.begin(), link.altnames.end());
  }
  for (auto& name : protected_interfaces)
    if (std::find(names.begin(), names.end(), name) == names.end())
      out.push_back(fmt::format("protected_interfaces: no interface of this host is called \"{}\" now{}",
                                name, meant(name, names)));
  names.clear();
  std::set<std::string> running;
  if (!protected_processes.empty())
    for (auto& process : processes_of(all_processes()))
      for (auto& name : {process.name, process.exe, fs::path(process.exe).filename().string()})
        if (!name.empty() && running.insert(name).second) names.push_back(name);
  for (auto& name : protected_processes)
    if (!running.contains(name))
      out.push_back(
          fmt::format("protected_processes: no process runs as \"{}\" now{}", name, meant(name, names)));
  for (auto& path : protected_paths) {
    std::error_code error;
    if (!fs::exists(path, error))
      out.push_back(
          fmt::format("protected_paths: \"{}\" is not there; its nearest folder's disk is protected", path));
    else if (devices_below(path).empty())
      out.push_back(
          fmt::format("protected_paths: \"{}\" lies on no disk that can be told, and protects none", path));
  }
  for (auto& one : out)
    one += fmt::format(" ({})", source);
  return out;
}

}  // namespace squall
