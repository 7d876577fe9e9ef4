// process.keep_dead: kills a service, and whatever comes in its place, until the end.
#include <csignal>
#include <set>

#include "injector/faults/process/killed_units.hpp"
#include "injector/faults/shape/fault_value.hpp"
#include "injector/system/process.hpp"
#include "injector/system/process_events.hpp"

namespace squall::faults {
namespace {

constexpr Duration look_every{20'000'000};
constexpr std::int64_t look_anyway_ns = 500'000'000;

struct ProcessKeepDead {};
const Object<ProcessKeepDead> parameters{"kills processes, and whatever comes in their place"};

struct KeptDead {
  KeptDead(const ProcessKeepDead&, Target& target)
      : target(target), first(target.pick(Amount::all())), units(units_of(first)) {
    target.claim("process", first);
    target.caveat("whoever comes instead lives for some 20 ms before it is killed");
    for (auto& unit : units)
      if (auto text = used_up(unit, look_every); !text.empty()) target.caveat(std::move(text));
  }

  void apply(Transaction& host) {
    for (auto& unit : units)
      host.add(watch_unit(unit));
    Change change;
    change.what = fmt::format("kill {} processes, and whoever comes instead", first.size());
    change.undo_note = "a killed process does not come back by itself; whoever supervises it has to";
    change.act = [this] {
      began_ns = monotonic_ns();
      for (auto& process : first)
        strike(process);
    };
    host.add(std::move(change));
  }
  void started(Life& life) {
    if (target.setting().io) try {
        arrivals = std::make_unique<ProcessEvents>(*target.setting().io, [this](auto what, pid_t, auto) {
          news = news || what == ProcessEvents::What::begun;
        });
      } catch (const std::exception&) {
        // Only root of the first pid namespace hears of them: then they are looked for each time.
      }
    life.at_end([this] { arrivals.reset(); });
    life.every(look_every, [this, &life] {
      const auto now = monotonic_ns();
      if (arrivals && !news && now - looked_ns < look_anyway_ns) return;
      looked_ns = now;
      news = false;
      for (auto& process : target.again()) {
        if (!struck.emplace(process.pid, process.start_ticks).second) continue;
        strike(process);
        const auto age_ms = static_cast<double>(boottime_ns() - boot_ns_of(process.start_ticks)) / 1e6;
        longest_ms = std::max(longest_ms, age_ms);
        ++again;
        if (again <= 100) life.tell("process.killed_again", {{"pid", process.pid}, {"lived_ms", age_ms}});
      }
    });
  }
  void measure(Dose& dose) {
    std::size_t alive = 0;
    for (auto& process : target.again())
      // One that is younger than a look is not ours yet.
      alive += boottime_ns() - boot_ns_of(process.start_ticks) > 1'000'000'000;
    dose.expect("processes_alive", 0, static_cast<double>(alive));
    dose.note("killed_again", again);
    if (again) dose.note("longest_life_ms", longest_ms);
    dose.note("dead_for_s", static_cast<double>(monotonic_ns() - began_ns) / 1e9);
  }

 private:
  void strike(const Process& process) {
    struck.emplace(process.pid, process.start_ticks);
    if (const auto pidfd = open_process(process.pid, process.start_ticks)) signal_process(pidfd, SIGKILL);
  }

  Target& target;
  std::vector<Process> first;
  std::vector<systemd::Unit> units;
  std::unique_ptr<ProcessEvents> arrivals;
  std::set<std::pair<pid_t, std::uint64_t>> struck;
  std::int64_t began_ns = 0, looked_ns = 0;
  std::uint64_t again = 0;
  double longest_ms = 0;
  bool news = false;
};

}  // namespace

extern const FaultType process_keep_dead;
const FaultType process_keep_dead = fault<ProcessKeepDead, KeptDead>({
    .info = {.name = "process.keep_dead",
             .sentence = "kills a service, and whatever comes in its place, until the end",
             .aims = process_keys(),
             .undo = "nothing is killed any more; whether the service comes back is for whoever supervises "
                     "it, and what "
                     "the drill tells",
             .examples = {"--on listens_on=6379 --for 30s"},
             .mechanism = "pidfd_send_signal, as soon as the kernel tells of a new process",
             .measures = "whether any such process is alive, and how long each one lived"},
    .parameters = &parameters,
    .does = by_itself<ProcessKeepDead, KeptDead>(),
    .started = [](KeptDead& fault, Life& life) { fault.started(life); },
});

}  // namespace squall::faults
