// cpu.throttle: leaves the cgroup of a service a share of one CPU.
#include <cmath>

#include "injector/faults/shape/group_target.hpp"
#include "injector/faults/shape/value_fault.hpp"
#include "injector/host/processes/signals.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t period_us = 100'000;

struct ThrottleCpu {
  struct With {
    Percent leave;
  };
  static const Object<With>& parameters() {
    static const auto all =
        Object<With>{"leaves a service a share of one CPU"}
            .required("leave", &With::leave, "the share of one CPU that its cgroup may use; 200% is two CPUs")
            .between(&With::leave, Percent{1}, Percent{100'000});
    return all;
  }

  ThrottleCpu(const With& with, Target& target) : with(with), on(target, "cpu") {}
  std::string mechanism() const { return on.v2() ? "cpu.max of cgroup v2" : "cpu.cfs_quota_us of cgroup v1"; }
  std::vector<std::string> targets() const { return on.names(); }
  std::vector<std::string> claims() const { return on.claims("processor time"); }
  Reach reach() const { return on.reach(); }
  std::vector<std::string> limits() const {
    return {"everybody in the cgroup shares what is left, also those that the target does not select"};
  }

  void apply(Transaction& host) {
    const auto quota =
        std::to_string(std::max<std::int64_t>(1000, std::llround(with.leave.fraction() * period_us)));
    const auto period = std::to_string(period_us);
    on.enable(host);
    for (auto& group : on.groups) {
      if (on.v2()) {
        cgroup::set_value(host, group, "cpu.max", quota + " " + period, quota + " " + period);
      } else {
        cgroup::set_value(host, group, "cpu.cfs_period_us", period, period);
        cgroup::set_value(host, group, "cpu.cfs_quota_us", quota, quota);
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
  double cpu_ms() const {
    double out = 0;
    for (auto& process : on.processes)
      out += signals::cpu_ms(process).value_or(0);
    return out;
  }
  With with;
  GroupTarget on;
  double periods_before = 0, cpu_before = 0;
  std::int64_t began_ns = 0;
};

std::vector<Capability> doctor() {
  const auto found = cgroup::hierarchy_with("cpu");
  return {{.mechanism = "a quota of processor time for a cgroup",
           .possible = found.has_value(),
           .chosen = found.has_value(),
           .missing = found ? "" : found.error(),
           .measures = "processor time of the processes, and in how many periods their cgroup was stopped"}};
}

}  // namespace

extern const FaultType cpu_throttle;
const FaultType cpu_throttle = fault<ThrottleCpu>({
    .name = "cpu.throttle",
    .sentence = "leaves a service a share of one CPU",
    .aims = process_keys(),
    .undo = "the cgroup has the quota again that it had",
    .examples = {"leave=20% --on listens_on=6379 --for 30s"},
    .doctor = doctor,
});

}  // namespace squall::faults
