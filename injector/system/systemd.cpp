#include "injector/system/systemd.hpp"

#include <array>
#include <cerrno>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/system/process.hpp"

namespace squall::systemd {
namespace {

constexpr int patience_ms = 1000;

// What a command prints; nothing where it fails or takes too long.
std::optional<std::string> output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  Fd read{ends[0]}, write{ends[1]};
  std::vector<char*> arguments;
  for (auto& word : command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error) return {};
  write.reset();
  std::string out;
  bool whole = false;
  const auto until = monotonic_ns() + patience_ms * 1'000'000LL;
  for (auto left = until - monotonic_ns(); left > 0 && !whole; left = until - monotonic_ns()) {
    pollfd ready{read.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left / 1'000'000) + 1) <= 0) continue;
    std::array<char, 4096> chunk;
    const auto size = ::read(read.get(), chunk.data(), chunk.size());
    if (size > 0) out.append(chunk.data(), static_cast<std::size_t>(size));
    whole = size == 0;
  }
  if (!whole) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!whole || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return {};
  return out;
}

// Below "user@1000.service" it is a unit of that user's own manager.
std::optional<Unit> unit_in(const std::string& cgroup) {
  Unit out;
  std::istringstream parts{cgroup};
  for (std::string part; std::getline(parts, part, '/');) {
    if (!part.ends_with(".service")) continue;
    if (part.starts_with("user@"))
      out.manager = {"--user",
                     fmt::format("--machine={}.host",
                                 part.substr(5, part.size() - 5 - std::string(".service").size()) + "@")};
    out.name = part;
  }
  if (out.name.empty() || out.name.starts_with("user@")) return {};
  return out;
}

}  // namespace

std::string Unit::command(const std::string& verb) const {
  return manager.empty() ? fmt::format("systemctl {} {}", verb, name)
                         : fmt::format("systemctl {} {} {}", fmt::join(manager, " "), verb, name);
}

std::optional<Unit> unit_of(const Process& process) {
  if (auto unit = unit_in(process.cgroup)) return unit;
  const auto named = process.cgroups.find("name=systemd");
  return named == process.cgroups.end() ? std::nullopt : unit_in(named->second);
}

std::int64_t read_timespan(const std::string& text) {
  static const std::map<std::string, double> units{
      {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9}, {"w", 604800e9}};
  double sum = 0;
  std::istringstream words{text};
  for (std::string word; words >> word;) {
    std::size_t digits = 0;
    double value = 0;
    try {
      value = std::stod(word, &digits);
    } catch (const std::exception&) {
      return 0;
    }
    const auto unit = units.find(word.substr(digits));
    if (unit != units.end()) sum += value * unit->second;
  }
  return static_cast<std::int64_t>(sum);
}

Unit read_properties(Unit unit, const std::string& shown) {
  std::istringstream lines{shown};
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto key = line.substr(0, equals), value = line.substr(equals + 1);
    if (key == "ActiveState") unit.active = value;
    if (key == "Result") unit.result = value;
    if (key == "Restart") unit.restart = value;
    if (key == "RestartUSec") unit.restart_ns = read_timespan(value);
    if (key == "StartLimitIntervalUSec") unit.interval_ns = read_timespan(value);
    if (key == "StartLimitBurst") unit.burst = std::strtoull(value.c_str(), nullptr, 10);
  }
  return unit;
}

std::optional<Unit> look_at(const Unit& unit) {
  std::vector<std::string> command{"systemctl"};
  command.insert(command.end(), unit.manager.begin(), unit.manager.end());
  for (auto* word :
       {"show", "--property=ActiveState,Result,Restart,RestartUSec,StartLimitBurst,StartLimitIntervalUSec",
        "--"})
    command.emplace_back(word);
  command.push_back(unit.name);
  const auto shown = output_of(command);
  if (!shown) return {};
  auto out = read_properties(unit, *shown);
  if (out.active.empty()) return {};
  return out;
}

}  // namespace squall::systemd
