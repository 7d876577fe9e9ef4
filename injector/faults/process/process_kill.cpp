// process.kill: ends processes by a signal through pidfds (pidfd_send_signal(2)), so that a pid that was used
// again is never hit. Measured: who died and when, and when a successor came back and listened again.
#include <array>
#include <csignal>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "injector/faults/process/killed_units.hpp"
#include "injector/faults/process/killed_watch.hpp"
#include "injector/faults/shape/fault_value.hpp"
#include "injector/system/host_text.hpp"

namespace squall {
namespace faults {
enum class Signal : int {
  term = SIGTERM,
  kill = SIGKILL,
  interrupt = SIGINT,
  quit = SIGQUIT,
  abort = SIGABRT,
  hangup = SIGHUP,
  segv = SIGSEGV
};
}

template <>
struct EnumNames<faults::Signal> {
  using S = faults::Signal;
  static constexpr std::array<std::pair<std::string_view, S>, 14> names{{{"SIGKILL", S::kill},
                                                                         {"SIGTERM", S::term},
                                                                         {"SIGINT", S::interrupt},
                                                                         {"SIGQUIT", S::quit},
                                                                         {"SIGABRT", S::abort},
                                                                         {"SIGHUP", S::hangup},
                                                                         {"SIGSEGV", S::segv},
                                                                         {"KILL", S::kill},
                                                                         {"TERM", S::term},
                                                                         {"INT", S::interrupt},
                                                                         {"QUIT", S::quit},
                                                                         {"ABRT", S::abort},
                                                                         {"HUP", S::hangup},
                                                                         {"SEGV", S::segv}}};
};

namespace faults {
namespace {

struct ProcessKill {
  Signal signal = Signal::kill;
  Amount count;
  std::optional<Duration> every, grace;
};
const auto parameters =
    Object<ProcessKill>{"ends processes by a signal"}
        .optional("signal", &ProcessKill::signal, "the signal", "SIGKILL")
        .optional("count", &ProcessKill::count, "how many of the matching processes, picked by the seed", "1")
        .optional("every", &ProcessKill::every, "again and again in this rhythm, as long as it lasts")
        .between(&ProcessKill::every, Duration{100'000'000}, Duration{86'400'000'000'000})
        .optional("grace", &ProcessKill::grace,
                  "SIGTERM first; the signal only to those that live on after this")
        .between(&ProcessKill::grace, Duration{1'000'000}, Duration{3'600'000'000'000});

struct Killed {
  Killed(const ProcessKill& given, Target& aimed)
      : with(given),
        target(aimed),
        picked(target.pick(with.count)),
        units(units_of(target.processes())),
        watch(target.spec(), target.setting(), target.processes()) {
    target.claim("process", picked);
    target.caveat(fmt::format(
        "{} of {} matching processes; whether a successor answers is seen {}", picked.size(),
        target.processes().size(),
        target.spec().listens_on ? "by its listening on the port again" : "only by its being there"));
    for (auto& unit : units)
      if (auto text = used_up(unit, with.every); !text.empty()) target.caveat(std::move(text));
  }
  ProcessKill with;
  Target& target;
  std::vector<Process> picked;
  std::vector<systemd::Unit> units;
  KilledWatch watch;
  std::size_t graced = 0;  // of the victims: who has got the time of grace
  std::set<std::pair<pid_t, std::uint64_t>> spared;
  std::string signal() const { return enum_text(with.signal); }
};

Killed prepare(const ProcessKill& with, Target& target) {
  return {with, target};
}

void strike(Killed& fault, const Process& process) {
  auto pidfd = open_process(process.pid, process.start_ticks);
  if (!pidfd) throw std::runtime_error("it is gone already");
  if (!fault.target.permits(process.pid)) throw std::runtime_error("it is protected on this host by now");
  fault.watch.listen();
  const auto signalled = monotonic_ns();
  if (const int error =
          signal_process(pidfd, fault.with.grace ? SIGTERM : static_cast<int>(fault.with.signal)))
    throw std::runtime_error(std::strerror(error));
  fault.watch.add(process, std::move(pidfd), signalled);
}

void apply(Killed& fault, Transaction& host) {
  for (auto& unit : fault.units)
    host.add(watch_unit(unit));
  for (auto& process : fault.picked) {
    Change change{.what = fmt::format("send {} to {}",
                                      fault.with.grace ? "SIGTERM, then " + fault.signal() : fault.signal(),
                                      process.to_string())};
    change.undo_note = "a killed process does not come back by itself; whoever supervises it has to";
    change.act = [&fault, process] { strike(fault, process); };
    host.add(std::move(change));
  }
}

// Those that live on after the grace get the signal that leaves no choice.
void force(Killed& fault, Life& life) {
  for (auto& victims = fault.watch.victims(); fault.with.grace && fault.graced < victims.size();
       ++fault.graced)
    life.after(*fault.with.grace, [&fault, victim = victims[fault.graced].get()] {
      if (!victim->died) signal_process(victim->pidfd, static_cast<int>(fault.with.signal));
    });
}

void strike_again(Killed& fault, Life& life) {
  const auto selected = fault.watch.look();
  if (!selected) return;
  for (auto& spared : selected->spared)
    if (fault.spared.emplace(spared.pid, spared.start_ticks).second)
      life.tell(
          "process.spared",
          {{"pid", spared.pid}, {"name", printable(spared.name)}, {"why", "it is protected on this host"}});
  for (auto& process : fault.target.draw(selected->processes, fault.with.count))
    try {
      strike(fault, process);
    } catch (const std::exception&) {
      // It ended by itself between the look and the signal, or is protected by now.
    }
  force(fault, life);
}

void started(Killed& fault, Life& life) {
  life.at_end([&fault] { fault.watch.stop(); });
  fault.watch.start();
  force(fault, life);
  if (fault.with.every) life.every(*fault.with.every, [&] { strike_again(fault, life); });
}

void measure(Killed& fault, Dose& dose) {
  fault.watch.notice_deaths();
  const auto& victims = fault.watch.victims();
  boost::json::array pids;
  for (auto& victim : victims) {
    if (!victim->died) continue;
    if (pids.empty()) dose.note("died_after_ms", static_cast<double>(victim->died - victim->signalled) / 1e6);
    pids.push_back(victim->process.pid);
  }
  const auto died = pids.size();
  dose.prescribed = {{"processes", victims.size()}, {"signal", fault.signal()}};
  if (fault.with.every) dose.prescribed["every_s"] = fault.with.every->seconds();
  dose.note("died", died);
  dose.note("pids", std::move(pids));
  fault.watch.tell_returns(dose);
  dose.samples = victims.size();
  dose.verified = !victims.empty() && died == victims.size();
  if (!dose.verified)
    dose.reason = victims.empty() ? "no process was there to be killed"
                                  : fmt::format("{} of {} processes live on after {}", victims.size() - died,
                                                victims.size(), fault.signal());
}

std::string needs_pidfd() {
  const auto stat = read_process_stat(::getpid());
  return stat && open_process(::getpid(), stat->start_ticks) ? "" : "pidfd_open(2), Linux 5.3 or later";
}

}  // namespace

extern const FaultType process_kill;
const FaultType process_kill = fault<ProcessKill, Killed>({
    .info = {.name = "process.kill",
             .sentence = "ends processes by a signal, once or again and again",
             .aims = process_keys(),
             .instantaneous = true,
             .undo = "cannot be undone: a killed process comes back only if somebody supervises it, and "
                     "whether it does is what the drill tells",
             .examples = {"--on listens_on=6379", "signal=SIGTERM grace=5s --on unit=playlist.service",
                          "count=50% every=10s --on exe=worker --for 1m"},
             .mechanism = "pidfd_send_signal",
             .measures = "which processes died and when, and when a successor was there again",
             .missing = needs_pidfd},
    .parameters = &parameters,
    .does = {prepare, apply, measure},
    .started = started,
    .events = [](Killed& fault) { return fault.watch.take_events(); },
});

}  // namespace faults
}  // namespace squall
