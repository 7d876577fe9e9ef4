#include "injector/host/processes/signals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <sstream>

#include "injector/change/records.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::signals {
namespace {

bool has_stopped(pid_t pid, std::uint64_t start_ticks) {
  const auto stat = read_process_stat(pid);
  return stat && stat->start_ticks == start_ticks && stat->state == 'T';
}

void refuse_if_stopped(const Process& process) {
  if (is_stopped(process))
    throw std::runtime_error(fmt::format("{} is stopped already, by somebody else", process.to_string()));
}

}  // namespace

void stop(Transaction& host, const Process& process) {
  refuse_if_stopped(process);
  Change change{.what = fmt::format("stop {} (SIGSTOP)", process.to_string())};
  change.inverse =
      Inverse{"process.continue",
              {{"pid", process.pid}, {"start_ticks", process.start_ticks}, {"process", process.to_string()}}};
  change.act = [process] {
    const auto pidfd = open_process(process.pid, process.start_ticks);
    if (!pidfd) throw std::runtime_error("it is gone already");
    refuse_if_stopped(process);
    if (const int error = signal_process(pidfd, SIGSTOP)) throw std::runtime_error(std::strerror(error));
    // It stops when it is next scheduled; one that waits for a disk later.
    for (int look = 0; look < 100 && !is_stopped(process); ++look)
      ::usleep(1000);
  };
  host.add(std::move(change));
}

void stop(Transaction& host, const std::vector<Process>& processes) {
  for (auto& process : processes)
    stop(host, process);
}

bool is_stopped(const Process& process) {
  return has_stopped(process.pid, process.start_ticks);
}

std::size_t stopped(const std::vector<Process>& processes) {
  return static_cast<std::size_t>(std::count_if(processes.begin(), processes.end(), is_stopped));
}

std::optional<double> cpu_ms(const Process& process) {
  const auto text = is_alive(process) ? read_file(fmt::format("/proc/{}/stat", process.pid)) : std::nullopt;
  const auto end = text ? text->rfind(')') : std::string::npos;
  if (end == std::string::npos) return {};
  // Fields 14 and 15 (utime, stime) of proc_pid_stat(5); the first word here is field 3.
  std::istringstream fields{text->substr(end + 2)};
  std::string skipped;
  for (int field = 3; field < 14; ++field)
    fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double cpu_ms(const std::vector<Process>& processes) {
  double out = 0;
  for (auto& process : processes)
    out += cpu_ms(process).value_or(0);
  return out;
}

}  // namespace squall::signals

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("let {} go on (SIGCONT)", text_of(with, "process"));
}

Undone carry_out(const boost::json::object& with) {
  const auto pid = static_cast<pid_t>(number_of(with, "pid"));
  const auto start = number_of(with, "start_ticks");
  const auto pidfd = open_process(pid, start);
  if (!pidfd) return {UndoOutcome::already};
  // Sent in any case: a stop that is still pending goes with it.
  const bool was_stopped = signals::has_stopped(pid, start);
  const int error = signal_process(pidfd, SIGCONT);
  if (!error) return {was_stopped ? UndoOutcome::undone : UndoOutcome::already};
  if (error == ESRCH) return {UndoOutcome::already};
  return {UndoOutcome::failed,
          fmt::format("{} stays stopped: {}", text_of(with, "process"), std::strerror(error)),
          fmt::format("kill -CONT {}", pid)};
}

}  // namespace

extern const UndoVerb process_continue;
const UndoVerb process_continue{"process.continue", describe, carry_out, {"process"}};

}  // namespace squall::undo
