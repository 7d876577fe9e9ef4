#include "injector/targets.hpp"

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/host/process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);
  return line;
}

void read_cgroups(pid_t pid, Process& out) {
  std::ifstream file{fmt::format("/proc/{}/cgroup", pid)};
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) {
      out.cgroup = path;
      continue;
    }
    std::istringstream names{controllers};
    for (std::string name; std::getline(names, name, ',');) out.cgroups[name] = path;
  }
}

std::vector<pid_t> all_pids() {
  std::vector<pid_t> out;
  std::error_code error;
  for (auto& entry : fs::directory_iterator("/proc", error)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos) out.push_back(std::stoi(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

// This process and those that started it: never a target.
std::set<pid_t> own_line() {
  std::set<pid_t> out;
  for (pid_t pid = ::getpid(); pid > 1;) {
    out.insert(pid);
    auto stat = read_process_stat(pid);
    if (!stat) break;
    pid = stat->parent;
  }
  out.insert(1);
  return out;
}

// Inodes of the sockets that listen on a port, in the network namespace of a process: TCP in LISTEN (0A), UDP bound.
std::set<std::string> listening_sockets(pid_t of, std::uint16_t port) {
  std::set<std::string> out;
  for (auto* table : {"tcp", "tcp6", "udp", "udp6"}) {
    std::ifstream file{fmt::format("/proc/{}/net/{}", of, table)};
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream fields{line};
      std::string slot, local, remote, state, skipped, inode;
      fields >> slot >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) fields >> skipped;
      fields >> inode;
      const auto colon = local.rfind(':');
      if (colon == std::string::npos || std::stoul(local.substr(colon + 1), nullptr, 16) != port) continue;
      if (table[0] == 't' && state != "0A") continue;
      out.insert(fmt::format("socket:[{}]", inode));
    }
  }
  return out;
}

bool holds_any(pid_t pid, const std::set<std::string>& sockets) {
  std::error_code error;
  for (auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", pid), error)) {
    char target[64];
    const auto size = ::readlink(entry.path().c_str(), target, sizeof target);
    if (size > 0 && sockets.contains(std::string(target, static_cast<std::size_t>(size)))) return true;
  }
  return false;
}


bool in_cgroup(const Process& process, std::string wanted) {
  if (!wanted.starts_with('/')) wanted = "/" + wanted;
  auto below = [&](const std::string& path) { return path == wanted || path.starts_with(wanted + "/"); };
  if (below(process.cgroup)) return true;
  return std::any_of(process.cgroups.begin(), process.cgroups.end(), [&](auto& one) { return below(one.second); });
}

bool path_has_part(const std::string& path, const std::function<bool(const std::string&)>& is_it) {
  std::istringstream parts{path};
  for (std::string part; std::getline(parts, part, '/');)
    if (is_it(part)) return true;
  return false;
}

bool in_any_cgroup(const Process& process, const std::function<bool(const std::string&)>& is_it) {
  if (path_has_part(process.cgroup, is_it)) return true;
  return std::any_of(process.cgroups.begin(), process.cgroups.end(), [&](auto& one) { return path_has_part(one.second, is_it); });
}

// Docker and podman name the cgroup after the container's full id: docker-<id>.scope, libpod-<id>.scope, or <id>.
bool in_container(const Process& process, const std::string& container) {
  return in_any_cgroup(process, [&](const std::string& part) {
    auto id = part;
    for (auto* prefix : {"docker-", "libpod-", "crio-", "cri-containerd-"})
      if (id.starts_with(prefix)) id = id.substr(std::string_view(prefix).size());
    if (id.ends_with(".scope")) id.resize(id.size() - 6);
    return part == container || id == container || (container.size() >= 12 && id.starts_with(container));
  });
}

struct Chosen {
  std::optional<pid_t> pid;
  std::optional<uid_t> uid;
  std::optional<std::regex> command;
};

tl::expected<Chosen, std::string> prepare(const TargetSpec& target) {
  Chosen out;
  if (target.pid) out.pid = *target.pid;
  if (target.pidfile) {
    const auto line = first_line(*target.pidfile);
    try {
      const auto pid = static_cast<pid_t>(std::stoi(line));
      if (out.pid && *out.pid != pid) return tl::unexpected(fmt::format("pid {} and the pid file \"{}\" ({}) name different processes", *out.pid, *target.pidfile, pid));
      out.pid = pid;
    } catch (const std::exception&) {
      return tl::unexpected(fmt::format("read the pid file \"{}\": expected a pid in its first line, got \"{}\"", *target.pidfile, line));
    }
  }
  if (target.user) {
    if (target.user->find_first_not_of("0123456789") == std::string::npos && !target.user->empty()) {
      out.uid = static_cast<uid_t>(std::stoul(*target.user));
    } else if (auto* entry = ::getpwnam(target.user->c_str())) {
      out.uid = entry->pw_uid;
    } else {
      return tl::unexpected(fmt::format("no user is called \"{}\"", *target.user));
    }
  }
  if (target.command) {
    try {
      out.command.emplace(*target.command, std::regex::ECMAScript);
    } catch (const std::regex_error& e) {
      return tl::unexpected(fmt::format("expected a regular expression, got \"{}\": {}", *target.command, e.what()));
    }
  }
  return out;
}

bool matches(const Process& process, const TargetSpec& target, const Chosen& chosen) {
  if (chosen.pid && process.pid != *chosen.pid) return false;
  if (chosen.uid && process.uid != *chosen.uid) return false;
  if (target.exe && process.exe != *target.exe && fs::path(process.exe).filename() != *target.exe) return false;
  if (chosen.command && !std::regex_search(process.command, *chosen.command)) return false;
  if (target.unit) {
    auto unit = *target.unit;
    if (unit.find('.') == std::string::npos) unit += ".service";
    if (!in_any_cgroup(process, [&](const std::string& part) { return part == unit; })) return false;
  }
  if (target.cgroup && !in_cgroup(process, *target.cgroup)) return false;
  if (target.container && !in_container(process, *target.container)) return false;
  return true;
}

}  // namespace

std::string Process::to_string() const { return fmt::format("{}[{}]", name, pid); }

std::optional<Process> read_process(pid_t pid) {
  auto stat = read_process_stat(pid);
  if (!stat || stat->state == 'Z') return {};
  Process out;
  out.pid = pid;
  out.start_ticks = stat->start_ticks;
  out.name = first_line(fmt::format("/proc/{}/comm", pid));
  std::error_code error;
  out.exe = fs::read_symlink(fmt::format("/proc/{}/exe", pid), error).string();
  if (out.exe.ends_with(" (deleted)")) out.exe.resize(out.exe.size() - 10);
  std::ifstream file{fmt::format("/proc/{}/cmdline", pid), std::ios::binary};
  out.command.assign(std::istreambuf_iterator<char>{file}, {});
  while (!out.command.empty() && out.command.back() == '\0') out.command.pop_back();
  std::replace(out.command.begin(), out.command.end(), '\0', ' ');
  struct stat info {};
  if (::stat(fmt::format("/proc/{}", pid).c_str(), &info) == 0) out.uid = info.st_uid;
  if (::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &info) == 0) out.network_namespace = info.st_ino;
  read_cgroups(pid, out);
  return out;
}

bool is_alive(const Process& process) {
  auto stat = read_process_stat(process.pid);
  return stat && stat->start_ticks == process.start_ticks && stat->state != 'Z' && stat->state != 'X';
}

tl::expected<std::vector<Process>, std::string> find_processes(const TargetSpec& target) {
  std::vector<Process> out;
  if (!target.selects_processes()) return out;
  auto chosen = prepare(target);
  if (!chosen) return tl::unexpected(chosen.error());
  const auto excluded = own_line();
  std::map<std::uint64_t, std::set<std::string>> listening;  // by network namespace
  for (auto pid : all_pids()) {
    if (excluded.contains(pid)) continue;
    auto stat = read_process_stat(pid);
    if (!stat || stat->kernel_thread) continue;
    auto process = read_process(pid);
    if (!process || !matches(*process, target, *chosen)) continue;
    if (target.listens_on) {
      auto [sockets, fresh] = listening.try_emplace(process->network_namespace);
      if (fresh) sockets->second = listening_sockets(pid, *target.listens_on);
      if (sockets->second.empty() || !holds_any(pid, sockets->second)) continue;
    }
    out.push_back(std::move(*process));
  }
  return out;
}

}  // namespace squall
