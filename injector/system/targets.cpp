#include "injector/system/targets.hpp"

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <regex>
#include <set>

#include <dirent.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/containers.hpp"
#include "injector/system/host_text.hpp"
#include "injector/system/listeners.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/target_cgroups.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

// A regular expression sees so much of a command line; std::regex recurses once a character.
constexpr std::size_t command_seen = 4096;

std::string proc(pid_t pid, std::string_view file) {
  return fmt::format("/proc/{}/{}", pid, file);
}

std::string read_link(const std::string& path) {
  char target[4096];
  const auto size = ::readlink(path.c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : "";
}

// Calls `read(pid)`, and again by a thread that lives where that gives nothing.
template <class Read>
auto by_live_thread(pid_t pid, Read read) {
  auto out = read(pid);
  if (out != decltype(out){}) return out;
  const auto thread = live_thread(pid);
  return thread == pid ? out : read(thread);
}

std::string executable_of(pid_t pid) {
  auto exe = by_live_thread(pid, [](pid_t of) { return read_link(proc(of, "exe")); });
  constexpr std::string_view gone = " (deleted)";  // replaced on disk by an upgrade, still running
  if (exe.ends_with(gone)) exe.resize(exe.size() - gone.size());
  return exe;
}

std::string command_of(pid_t pid) {
  auto command = by_live_thread(pid, [](pid_t of) { return read_file(proc(of, "cmdline")).value_or(""); });
  while (!command.empty() && command.back() == '\0')
    command.pop_back();
  std::replace(command.begin(), command.end(), '\0', ' ');
  return command;
}

uid_t user_of(pid_t pid) {
  struct stat info{};
  return ::stat(fmt::format("/proc/{}", pid).c_str(), &info) == 0 ? info.st_uid : static_cast<uid_t>(-1);
}

// Calls `take(piece)` for each piece of a text between separators.
template <class Take>
void split(std::string_view text, char separator, Take take) {
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    take(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// cgroup v1 puts a thread that has ended into the root.
void read_cgroups(pid_t pid, Process& out) {
  split(read_file(proc(live_thread(pid), "cgroup")).value_or(""), '\n', [&](std::string_view line) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) return;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const std::string path{line.substr(second + 1)};
    if (controllers.empty()) out.cgroup = path;
    split(controllers, ',', [&](std::string_view name) { out.cgroups[std::string(name)] = path; });
  });
}

template <class Holds>
bool any_cgroup(const Process& process, Holds holds) {
  return holds(process.cgroup) || std::any_of(process.cgroups.begin(), process.cgroups.end(),
                                              [&](auto& one) { return holds(one.second); });
}

template <class Is>
bool any_cgroup_part(const Process& process, Is is) {
  return any_cgroup(process, [&](const std::string& path) {
    bool found = false;
    split(path, '/', [&](std::string_view part) { found = found || is(part); });
    return found;
  });
}

// "/a/b" from what a person wrote: with or without slashes at its ends, or as a folder below /sys/fs/cgroup,
// where a v1 hierarchy (or the v2 one of a hybrid system) has a folder of its own before it.
std::vector<std::string> cgroup_names(std::string wanted) {
  while (wanted.size() > 1 && wanted.ends_with('/'))
    wanted.pop_back();
  constexpr std::string_view mounted = "/sys/fs/cgroup/";
  if (!wanted.starts_with(mounted)) return {wanted.starts_with('/') ? wanted : "/" + wanted};
  const auto below = wanted.substr(mounted.size() - 1);
  const auto second = below.find('/', 1);
  return second == std::string::npos ? std::vector{below} : std::vector{below, below.substr(second)};
}

bool in_cgroup(const Process& process, const std::vector<std::string>& names) {
  return any_cgroup(process, [&](const std::string& path) {
    return std::any_of(names.begin(), names.end(), [&](auto& name) {
      return !path.empty() && (path == name || name == "/" || path.starts_with(name + "/"));
    });
  });
}

// Docker and Podman name the cgroup after the container's full id: docker-<id>.scope, libpod-<id>.scope, or
// <id>.
bool names_container(std::string_view part, const std::vector<std::string>& ids) {
  for (std::string_view prefix : {"docker-", "libpod-", "crio-", "cri-containerd-"})
    if (part.starts_with(prefix)) part.remove_prefix(prefix.size());
  if (part.ends_with(".scope")) part.remove_suffix(6);
  constexpr std::size_t short_id = 12;
  return std::any_of(ids.begin(), ids.end(),
                     [&](auto& id) { return part == id || (id.size() >= short_id && part.starts_with(id)); });
}

// What is asked for, ready to be compared with many processes.
struct Wanted {
  std::optional<pid_t> pid;
  std::optional<uid_t> user;
  std::optional<std::regex> command;
  std::string unit;
  std::vector<std::string> cgroups, containers;
};

tl::expected<pid_t, std::string> read_pid_file(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return tl::unexpected(fmt::format("read the pid file \"{}\": {}", path, std::strerror(errno)));
  const auto line = trimmed(std::string_view(*text).substr(0, text->find('\n')));
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), pid);
  if (error != std::errc{} || end != line.data() + line.size() || pid <= 0)
    return tl::unexpected(
        fmt::format("read the pid file \"{}\": expected a pid in its first line, got \"{}\"", path,
                    printable(line.substr(0, 40))));
  return pid;
}

tl::expected<uid_t, std::string> find_user(const std::string& name) {
  uid_t uid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), uid);
  if (error == std::errc{} && end == name.data() + name.size()) return uid;
  if (auto* entry = ::getpwnam(name.c_str())) return entry->pw_uid;
  return tl::unexpected(fmt::format("no user is called \"{}\"", name));
}

tl::expected<Wanted, std::string> understand(const TargetSpec& target) {
  Wanted out;
  out.pid = target.pid;
  if (target.pidfile) {
    const auto pid = read_pid_file(*target.pidfile);
    if (!pid) return tl::unexpected(pid.error());
    if (out.pid && *out.pid != *pid)
      return tl::unexpected(fmt::format("pid {} and the pid file \"{}\" ({}) name different processes",
                                        *out.pid, *target.pidfile, *pid));
    out.pid = *pid;
  }
  if (target.user) {
    const auto user = find_user(*target.user);
    if (!user) return tl::unexpected(user.error());
    out.user = *user;
  }
  if (target.command) try {
      out.command.emplace(*target.command, std::regex::ECMAScript);
    } catch (const std::regex_error& e) {
      return tl::unexpected(
          fmt::format("expected a regular expression, got \"{}\": {}", *target.command, e.what()));
    }
  if (target.unit)
    out.unit = target.unit->find('.') == std::string::npos ? *target.unit + ".service" : *target.unit;
  if (target.cgroup) out.cgroups = cgroup_names(*target.cgroup);
  if (target.container) {
    out.containers = container_ids(*target.container);
    out.containers.push_back(*target.container);
  }
  return out;
}

// Reads no more of a process than the selector asks about: most processes of a host are told apart by one
// small file.
bool matches(pid_t pid, const TargetSpec& target, const Wanted& wanted) {
  if (wanted.user && user_of(pid) != *wanted.user) return false;
  if (target.exe) {
    const auto exe = executable_of(pid);
    if (exe != *target.exe && fs::path(exe).filename() != *target.exe) return false;
  }
  if (wanted.command && !std::regex_search(command_of(pid).substr(0, command_seen), *wanted.command))
    return false;
  if (!target.unit && !target.cgroup && !target.container) return true;
  Process process;
  read_cgroups(pid, process);
  if (target.unit && !any_cgroup_part(process, [&](auto part) { return part == wanted.unit; })) return false;
  if (target.cgroup && !in_cgroup(process, wanted.cgroups)) return false;
  return !target.container ||
         any_cgroup_part(process, [&](auto part) { return names_container(part, wanted.containers); });
}

// Who listens on a port, in whatever network namespace.
class Port {
 public:
  explicit Port(std::uint16_t port) : port_(port) {}

  bool is_held_by(pid_t pid) {
    auto [known, fresh] = waiting_.try_emplace(network_namespace_of(pid));
    auto& waiting = known->second;
    if (fresh)
      for (auto& listener : listeners_around(pid))
        if (listener.port == port_) waiting.insert(listener.inode);
    if (waiting.empty()) return false;
    const auto held = sockets_of(pid);
    hidden_ = hidden_ || !held;
    return held &&
           std::any_of(held->begin(), held->end(), [&](auto inode) { return waiting.contains(inode); });
  }
  // Somebody listens, and there are processes whose sockets we may not see.
  bool may_be_hidden() const { return hidden_; }

 private:
  std::uint16_t port_;
  bool hidden_ = false;
  std::map<std::uint64_t, std::set<std::uint64_t>> waiting_;  // network namespace → sockets
};

std::vector<pid_t> all_pids() {
  std::vector<pid_t> out;
  auto* folder = ::opendir("/proc");
  if (!folder) return out;
  while (auto* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) out.push_back(pid);
  }
  ::closedir(folder);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::uint64_t network_namespace_of(pid_t pid) {
  return by_live_thread(pid, [](pid_t of) -> std::uint64_t {
    struct stat info{};
    return ::stat(proc(of, "ns/net").c_str(), &info) == 0 ? info.st_ino : 0;
  });
}

std::string Process::to_string() const {
  return fmt::format("{}[{}]", printable(name), pid);
}

std::optional<Process> read_identity(pid_t pid) {
  auto stat = read_process_stat(pid);
  if (!stat || stat->ended()) return {};
  Process out;
  out.pid = pid;
  out.start_ticks = stat->start_ticks;
  out.name = trimmed(read_file(proc(pid, "comm")).value_or(""));
  out.exe = executable_of(pid);
  return out;
}

std::optional<Process> read_process(pid_t pid) {
  auto out_if_there = read_identity(pid);
  if (!out_if_there) return {};
  auto& out = *out_if_there;
  out.command = command_of(pid);
  out.uid = user_of(pid);
  out.network_namespace = network_namespace_of(pid);
  read_cgroups(pid, out);
  return out_if_there;
}

bool is_alive(const Process& process) {
  auto stat = read_process_stat(process.pid);
  return stat && stat->start_ticks == process.start_ticks && !stat->ended();
}

std::string cgroup_meant(const TargetSpec& target, const std::string& path) {
  if (target.exe || target.command || target.listens_on || target.pid || target.pidfile || target.user)
    return "";
  const auto wanted = understand(target);
  if (!wanted || path.size() < 2) return "";
  for (std::size_t at = 1; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto part = std::string_view(path).substr(at, end - at);
    const auto above = path.substr(0, end);
    const auto is_one = [&](const std::string& name) { return name == above; };
    if ((!target.unit || part == wanted->unit) &&
        (!target.container || names_container(part, wanted->containers)) &&
        (!target.cgroup || std::any_of(wanted->cgroups.begin(), wanted->cgroups.end(), is_one)))
      return target.unit || target.container || target.cgroup ? above : "";
    at = end + 1;
  }
  return "";
}

std::string none_matches(const TargetSpec& target) {
  auto out = fmt::format("no process matches {}", target.to_string());
  if (!target.exe) return out;
  std::error_code unreadable;
  for (auto& entry : fs::directory_iterator("/proc", unreadable)) {
    const auto pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || trimmed(read_file(proc(pid, "comm")).value_or("")) != *target.exe) continue;
    if (const auto exe = executable_of(pid); !exe.empty())
      return out + fmt::format("; {}[{}] runs {}", *target.exe, pid, printable(exe));
  }
  return out;
}

tl::expected<std::vector<Process>, std::string> find_processes(const TargetSpec& target) {
  std::vector<Process> out;
  if (!target.selects_processes()) return out;
  const auto wanted = understand(target);
  if (!wanted) return tl::unexpected(wanted.error());
  const auto excluded = own_line();
  std::optional<Port> port;
  if (target.listens_on) port.emplace(*target.listens_on);
  for (auto pid : wanted->pid ? std::vector{*wanted->pid} : all_pids()) {
    if (std::find(excluded.begin(), excluded.end(), pid) != excluded.end()) continue;
    const auto stat = read_process_stat(pid);
    if (!stat || stat->kernel_thread || stat->ended()) continue;
    if (!matches(pid, target, *wanted) || (port && !port->is_held_by(pid))) continue;
    auto process = read_process(pid);
    if (process && process->start_ticks == stat->start_ticks) out.push_back(std::move(*process));
  }
  if (out.empty() && port && port->may_be_hidden())
    return tl::unexpected(
        fmt::format("somebody listens on port {}, but only root may see which process", *target.listens_on));
  return out;
}

}  // namespace squall
