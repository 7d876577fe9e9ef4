// cpu.burn: takes a share of the host's processors, as a neighbour or a runaway job would.
#include <cmath>
#include <cstdio>

#include <sched.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/processes/signals.hpp"
#include "injector/host/processes/worker.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

// The cores that this process may use.
std::vector<int> usable_cores() {
  cpu_set_t all;
  CPU_ZERO(&all);
  ::sched_getaffinity(0, sizeof all, &all);
  std::vector<int> out;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &all)) out.push_back(core);
  return out;
}

std::vector<std::string> burning(double share, const std::vector<int>& cores) {
  std::vector<std::string> out{"burn", fmt::format("{:.4f}", share)};
  for (int core : cores)
    out.push_back(std::to_string(core));
  return out;
}

struct CpuBurn {
  Percent share;
  std::optional<std::int64_t> cores;
};
const auto parameters = Object<CpuBurn>{"takes a share of the host's processors"}
                            .required("share", &CpuBurn::share, "of the processor time of those cores")
                            .between(&CpuBurn::share, Percent{1}, Percent{100})
                            .optional("cores", &CpuBurn::cores,
                                      "how many cores, from the first; all of them where it is not given")
                            .between(&CpuBurn::cores, std::int64_t{1}, std::int64_t{1024});

struct Burning {
  Burning(const CpuBurn& with, Target& target)
      : with(with), cores(chosen(with, target)), worker(burning(with.share.fraction(), cores)) {
    target.name(fmt::format("{} of the host's cores", cores.size()));
    target.claim({.resource = "processor time of", .scope = "the host"});
    target.caveat("what a hypervisor takes away is not seen; processes of a real-time class come first");
  }

  void apply(Transaction& host) {
    start_worker(
        host, worker,
        fmt::format("start a process that uses {} of {} cores", to_string(with.share), cores.size()));
  }
  // The kernel's account of that process, not its own: the share of the time since it runs.
  void measure(Dose& dose) {
    if (!process && worker.pid() > 0) {
      process = read_process(worker.pid());
      began_ns = monotonic_ns();
      if (process) before = signals::cpu_ms(std::vector{*process});
    }
    const auto ms = static_cast<double>(monotonic_ns() - began_ns) / 1e6;
    const auto used = process ? signals::cpu_ms(std::vector{*process}) : 0;
    if (!worker.alive() || ms < 500) {
      dose.prescribed = {{"cpu_percent", with.share.value}};
      return dose.doubt(worker.alive() ? "it has only just begun" : "the process that uses them is gone");
    }
    const auto percent = (used - before) / ms / static_cast<double>(cores.size()) * 100;
    dose.expect("cpu_percent", with.share.value, std::round(percent * 100) / 100, 2 / with.share.value);
    dose.samples = static_cast<std::uint64_t>(ms / 10);
  }

 private:
  static std::vector<int> chosen(const CpuBurn& with, const Target& target) {
    auto out = usable_cores();
    if (with.cores && static_cast<std::size_t>(*with.cores) > out.size())
      target.refuse("cores", fmt::format("this host has {} cores", out.size()));
    if (with.cores) out.resize(static_cast<std::size_t>(*with.cores));
    return out;
  }
  CpuBurn with;
  std::vector<int> cores;
  Worker worker;
  std::optional<Process> process;
  std::int64_t began_ns = 0;
  double before = 0;
};

}  // namespace

extern const FaultType cpu_burn;
const FaultType cpu_burn = fault<CpuBurn, Burning>({
    .info = {.name = "cpu.burn",
             .sentence = "takes a share of the host's processors, as a neighbour or a runaway job would",
             .undo = "the process that uses them is ended",
             .examples = {"share=50% --for 30s", "share=90% cores=1 --for 30s"},
             .mechanism = "a process of its own at the highest priority",
             .measures = "what processor time the kernel gave it"},
    .parameters = &parameters,
    .does = by_itself<CpuBurn, Burning>(),
});

}  // namespace squall::faults
