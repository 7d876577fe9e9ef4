// cpu.throttle: leaves the cgroup of a service a share of one CPU.
#include <cmath>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/faults/shape/group_target.hpp"
#include "injector/host/cgroups/kernel_file.hpp"
#include "injector/host/processes/signals.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t period_us = 100'000;

struct CpuThrottle {
  Percent leave;
};
const auto parameters = Object<CpuThrottle>{"leaves a service a share of one CPU"}
                            .required("leave", &CpuThrottle::leave,
                                      "the share of one CPU that its cgroup may use; 200% is two CPUs")
                            .between(&CpuThrottle::leave, Percent{1}, Percent{100'000});

struct Throttled {
  Throttled(const CpuThrottle& with, Target& target) : with(with), on(target, "cpu", "processor time") {}

  void apply(Transaction& host) {
    const auto quota =
        std::to_string(std::max<std::int64_t>(1000, std::llround(with.leave.fraction() * period_us)));
    const auto period = std::to_string(period_us);
    on.enable(host);
    for (auto& group : on.groups) {
      const auto what = fmt::format("leave the cgroup {} {} of a CPU", group.path, to_string(with.leave));
      if (on.v2()) {
        kernel_file::set(host, group.folder + "/cpu.max", quota + " " + period, what, "", "max " + period);
      } else {
        kernel_file::set(host, group.folder + "/cpu.cfs_period_us", period, what + ": its period");
        kernel_file::set(host, group.folder + "/cpu.cfs_quota_us", quota, what);
      }
    }
    periods_before = on.sum("cpu.stat", "nr_throttled");
    cpu_before = cpu_ms();
    began_ns = monotonic_ns();
  }
  // What the processes used is the kernel's account of them, not of the limit; whether they wanted more is
  // told by the periods in which they were stopped.
  void measure(Dose& dose) {
    const auto periods = on.sum("cpu.stat", "nr_throttled") - periods_before;
    const auto ms = static_cast<double>(monotonic_ns() - began_ns) / 1e6;
    const auto percent = ms > 0 ? (cpu_ms() - cpu_before) / ms * 100 : 0;
    dose.prescribed = {{"cpu_percent_at_most", with.leave.value * static_cast<double>(on.groups.size())}};
    dose.measured = {{"cpu_percent", percent}, {"periods_cut_short", periods}};
    dose.samples = static_cast<std::uint64_t>(periods);
    dose.verified = periods > 0;
    if (!dose.verified) dose.doubt("nobody in the cgroup wanted more than is left: no period was cut short");
    // The account of a process comes in ticks of 10 ms.
    if (ms > 2000 && percent > with.leave.value * static_cast<double>(on.groups.size()) * 1.15 + 2)
      dose.doubt("the processes that were aimed at used more than is left to them");
  }

 private:
  double cpu_ms() const { return signals::cpu_ms(on.processes); }
  CpuThrottle with;
  GroupTarget on;
  double periods_before = 0, cpu_before = 0;
  std::int64_t began_ns = 0;
};

}  // namespace

extern const FaultType cpu_throttle;
const FaultType cpu_throttle = fault<CpuThrottle, Throttled>({
    .info = {.name = "cpu.throttle",
             .sentence = "leaves a service a share of one CPU",
             .aims = process_keys(),
             .undo = "the cgroup has the quota again that it had",
             .examples = {"leave=20% --on listens_on=6379 --for 30s"},
             .mechanism = "a quota of the cgroup (cpu.max, cpu.cfs_quota_us)",
             .measures = "processor time of the processes, and in how many periods their cgroup was stopped",
             .missing = [] { return lacks_controller("cpu"); }},
    .parameters = &parameters,
    .does = by_itself<CpuThrottle, Throttled>(),
});

}  // namespace squall::faults
