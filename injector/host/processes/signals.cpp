#include "injector/host/processes/signals.hpp"

#include <csignal>
#include <cstring>
#include <sstream>

#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::signals {

bool is_stopped(const Process& process) {
  const auto stat = read_process_stat(process.pid);
  return stat && stat->start_ticks == process.start_ticks && stat->state == 'T';
}

std::optional<double> cpu_ms(const Process& process) {
  const auto stat = read_file(fmt::format("/proc/{}/stat", process.pid));
  if (!stat || !is_alive(process)) return {};
  // Fields 14 and 15, behind the name in parentheses.
  std::istringstream fields{stat->substr(stat->rfind(')') + 2)};
  std::string skipped;
  for (int field = 3; field < 14; ++field)
    fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void stop(Transaction& transaction, const Process& process) {
  Change change;
  change.what = fmt::format("stop {} (SIGSTOP)", process.to_string());
  change.inverse =
      Inverse{"process.continue",
              {{"pid", process.pid}, {"start_ticks", process.start_ticks}, {"name", process.to_string()}}};
  change.act = [process] {
    const auto pidfd = open_process(process.pid, process.start_ticks);
    if (!pidfd) throw std::runtime_error("it has ended meanwhile");
    if (const int error = signal_process(pidfd, SIGSTOP)) throw std::runtime_error(std::strerror(error));
  };
  transaction.add(std::move(change));
}

}  // namespace squall::signals

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("let {} go on (SIGCONT)", with.at("name").as_string().c_str());
}

Undone carry_out(const boost::json::object& with) {
  const auto pid = with.at("pid").to_number<pid_t>();
  const auto ticks = with.at("start_ticks").to_number<std::uint64_t>();
  const auto pidfd = open_process(pid, ticks);
  const auto stat = pidfd ? read_process_stat(pid) : std::nullopt;
  if (!stat || stat->state != 'T') return {UndoOutcome::already};
  if (const int error = signal_process(pidfd, SIGCONT))
    return {UndoOutcome::failed, fmt::format("{}: {}", describe(with), std::strerror(error)),
            fmt::format("kill -CONT {}", pid)};
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb process_continue;
const UndoVerb process_continue{"process.continue", describe, carry_out, {"process"}};

}  // namespace squall::undo
