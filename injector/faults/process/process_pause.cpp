// process.pause: stops processes without ending them, like a hung process or a long garbage collection.
#include "injector/faults/shape/value_fault.hpp"
#include "injector/host/processes/signals.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

struct Pause {
  struct With {
    Amount count{.kind = Amount::Kind::all};
  };
  static const Object<With>& parameters() {
    static const auto all = Object<With>{"stops processes without ending them"}.optional(
        "count", &With::count, "how many of the matching processes, picked by the seed", "all");
    return all;
  }

  Pause(const With& with, Target& target)
      : target(target),
        processes(target.pick(with.count)),
        all(processes.size() == target.processes().size()) {
    for (auto& process : processes)
      if (signals::is_stopped(process)) throw Unfit(process.to_string() + " is stopped already");
  }
  std::string mechanism() const { return "SIGSTOP by pidfd"; }
  std::vector<std::string> targets() const { return names_of(processes); }
  std::vector<std::string> claims() const { return claims_on(processes); }
  Reach reach() const { return {.processes = processes, .cgroups = {}, .devices = {}, .disks = {}}; }
  std::vector<std::string> limits() const {
    return {
        "whoever waits for the process as its parent sees it stopped (waitpid(2), WUNTRACED); a watchdog "
        "of systemd (WatchdogSec) ends it and starts it anew"};
  }

  void apply(Transaction& host) {
    for (auto& process : processes)
      signals::stop(host, process);
    began_ns = monotonic_ns();
    cpu_before = cpu();
  }
  void measure(Dose& dose) {
    const auto stopped = std::count_if(processes.begin(), processes.end(), signals::is_stopped);
    dose.expect("processes", static_cast<double>(processes.size()), static_cast<double>(stopped));
    dose.note("paused_s", static_cast<double>(monotonic_ns() - began_ns) / 1e9);
    dose.note("cpu_ms", cpu() - cpu_before);
    if (const auto now = monotonic_ns(); all && now - looked_ns > 500'000'000) {
      looked_ns = now;
      running.clear();
      for (auto& process : target.again())
        if (!signals::is_stopped(process)) running = process.to_string();
    }
    if (!running.empty()) dose.doubt(running + " is selected as well, and runs: it was started since");
  }

 private:
  double cpu() const {
    double sum = 0;
    for (auto& process : processes)
      sum += signals::cpu_ms(process).value_or(0);
    return sum;
  }
  Target& target;
  std::vector<Process> processes;
  bool all;             // of those that the target selects
  std::string running;  // one that is not stopped
  std::int64_t began_ns = 0, looked_ns = 0;
  double cpu_before = 0;
};

}  // namespace

extern const FaultType process_pause;
const FaultType process_pause = fault<Pause>({
    .name = "process.pause",
    .sentence = "stops processes without ending them, like one that hangs or collects garbage for long",
    .aims = process_keys(),
    .undo = "they go on; one that has ended meanwhile is left alone, whoever has its pid now",
    .examples = {"--on listens_on=6379 --for 20s", "count=1 --on exe=worker --for 5s"},
    .doctor =
        [] {
          return std::vector<Capability>{
              {.mechanism = "SIGSTOP by pidfd",
               .possible = true,
               .chosen = true,
               .measures = "which processes are stopped, and what processor time they used"}};
        },
});

}  // namespace squall::faults
