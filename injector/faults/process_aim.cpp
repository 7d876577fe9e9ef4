#include "injector/faults/process_aim.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <sys/stat.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/host/network_namespace.hpp"

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
std::vector<std::string> others_in(const std::string& folder, const std::set<pid_t>& chosen) {
  std::vector<std::string> out;
  auto look = [&](const std::filesystem::path& path) {
    std::ifstream file{path / "cgroup.procs"};
    for (pid_t pid = 0; file >> pid;)
      if (!chosen.contains(pid))
        if (auto process = read_process(pid)) out.push_back(process->to_string());
  };
  std::error_code error;
  look(folder);
  for (std::filesystem::recursive_directory_iterator it{folder, error}, end; it != end; it.increment(error))
    if (it->is_directory(error)) look(it->path());
  return out;
}

bool match_cgroups(const std::vector<Process>& processes, ProcessAim& aim, Diagnostics& diagnostics) {
  std::set<std::string> paths;
  std::set<pid_t> pids;
  for (auto& process : processes) {
    pids.insert(process.pid);
    if (process.cgroup.empty() || process.cgroup == "/") {
      diagnostics.error({}, fmt::format("{} is in the root cgroup, by which the kernel would match every process of the host: run it in a cgroup "
                                        "of its own (a systemd unit has one), or aim at its port with listens_on",
                                        process.to_string()));
      return false;
    }
    paths.insert(process.cgroup);
  }
  const auto mount = cgroup2_mount();
  for (auto& path : paths) {
    struct stat info {};
    if (mount.empty() || ::stat((mount + path).c_str(), &info) != 0) {
      diagnostics.error({}, fmt::format("the cgroup \"{}\" cannot be found below \"{}\", where cgroup2 is mounted", path, mount));
      return false;
    }
    aim.cgroups.push_back({static_cast<std::uint32_t>(std::count(path.begin(), path.end(), '/')), info.st_ino});
    auto others = others_in(mount + path, pids);
    if (others.empty()) continue;
    const auto count = others.size();
    others.resize(std::min<std::size_t>(count, 5));
    aim.limits.push_back(fmt::format("the cgroup {} holds {} more processes, which are hit too: {}{}", path, count, fmt::join(others, ", "), count > 5 ? ", …" : ""));
  }
  aim.limits.emplace_back(
      "a process is recognised by its cgroup: sockets made before it was moved there are not its own, nor are what the kernel answers "
      "in its stead (SYN-ACK, RST, ICMP)");
  return true;
}

// Nobody but these is in their network namespace.
bool alone(const std::vector<Process>& processes) {
  const auto there = processes_beside(processes.front().pid);
  return !there.empty() && std::all_of(there.begin(), there.end(), [&](pid_t pid) {
    return std::any_of(processes.begin(), processes.end(), [&](auto& process) { return process.pid == pid; });
  });
}

}  // namespace

bool find_namespace(const std::vector<Process>& processes, ProcessAim& aim, Diagnostics& diagnostics) {
  aim.network_namespace = current_network_namespace();
  if (processes.empty()) return true;
  for (auto& process : processes)
    if (process.network_namespace != processes.front().network_namespace) {
      diagnostics.error({}, fmt::format("{} and {} are in different network namespaces: aim at one of them", processes.front().to_string(), process.to_string()));
      return false;
    }
  if (processes.front().network_namespace != aim.network_namespace) {
    aim.network_namespace = processes.front().network_namespace;
    aim.namespace_pid = processes.front().pid;
    aim.limits.push_back(fmt::format("acts in the network namespace of {}", processes.front().to_string()));
  }
  return true;
}

bool recognise(const std::vector<Process>& processes, ProcessAim& aim, Diagnostics& diagnostics) {
  aim.alone = aim.namespace_pid && alone(processes);
  if (!aim.alone) return match_cgroups(processes, aim, diagnostics);
  aim.limits.emplace_back("nobody else is in that network namespace: all that passes there is meant, whatever the cgroup, also of who comes there later");
  return true;
}

}  // namespace squall::faults
