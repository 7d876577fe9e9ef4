// process.pause: stops processes without ending them (SIGSTOP), as a hang or a long garbage collection would.
#include <fmt/format.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/processes/signals.hpp"

namespace squall::faults {
namespace {

struct ProcessPause {
  Amount count = Amount::all();
};
const auto parameters = Object<ProcessPause>{"stops processes"}.optional(
    "count", &ProcessPause::count, "how many of the matching processes, picked by the seed", "all");

struct Paused {
  Target& target;
  std::vector<Process> processes;
  double cpu_ms_before = 0;
};

Paused prepare(const ProcessPause& with, Target& target) {
  Paused fault{target, target.pick(with.count)};
  target.claim("process", fault.processes);
  return fault;
}

void apply(Paused& fault, Transaction& host) {
  signals::stop(host, fault.processes);
}

void measure(Paused& fault, Dose& dose) {
  dose.expect("processes", fault.processes.size(), signals::stopped(fault.processes));
  dose.note("cpu_ms", signals::cpu_ms(fault.processes) - fault.cpu_ms_before);
  if (!dose.verified || fault.processes.size() < fault.target.processes().size()) return;
  // All are meant: whoever was started since runs.
  if (const auto now = fault.target.again(); signals::stopped(now) < now.size())
    dose.doubt(fmt::format("{} of {} processes run, started since or let go on",
                           now.size() - signals::stopped(now), now.size()));
}

}  // namespace
extern const FaultType process_pause;
const FaultType process_pause = fault<ProcessPause, Paused>({
    .info = {.name = "process.pause",
             .sentence = "stops processes without ending them, as a hang or a long garbage collection would",
             .aims = process_keys(),
             .undo = "the processes go on (SIGCONT)",
             .examples = {"--on listens_on=6379 --for 20s", "count=1 --on exe=worker --for 1m"},
             .mechanism = "SIGSTOP by pidfd",
             .measures = "which processes the kernel has stopped, and the CPU time that they used meanwhile"},
    .parameters = &parameters,
    .does = {prepare, apply, measure},
    .started = [](Paused& fault, Life&) { fault.cpu_ms_before = signals::cpu_ms(fault.processes); },
});

}  // namespace squall::faults
