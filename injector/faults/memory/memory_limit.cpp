// memory.limit: squeezes the memory of a service's cgroup.
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <unistd.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/faults/shape/group_target.hpp"
#include "injector/host/cgroups/kernel_file.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

struct MemoryLimit {
  Size amount;
};
const auto parameters = Object<MemoryLimit>{"squeezes the memory of a service"}
                            .required("amount", &MemoryLimit::amount,
                                      "what its cgroup may have; beyond it the kernel takes pages back")
                            .between(&MemoryLimit::amount, Size{1 << 20}, Size{std::int64_t{1} << 46});

struct Limited {
  Limited(const MemoryLimit& with, Target& target) : with(with), on(target, "memory", "memory") {
    for (auto& group : on.groups)
      if (const auto now = std::atoll(read_file(group.folder + "/" + file()).value_or("").c_str());
          now > 0 && now <= with.amount.bytes)
        target.refuse("amount", fmt::format("the cgroup {} may have {} bytes already, no more than that",
                                            group.path, now));
    if (!on.v2())
      target.caveat(
          "where the cgroup needs more and can give nothing back, the kernel kills one of its processes");
  }

  void apply(Transaction& host) {
    const auto page = ::sysconf(_SC_PAGESIZE);
    const auto bytes = std::to_string(with.amount.bytes / page * page);
    on.enable(host);
    for (auto& group : on.groups) {
      kernel_file::set(host, group.folder + "/" + file(), bytes,
                       fmt::format("limit the memory of the cgroup {} to {} bytes", group.path, bytes), "",
                       on.v2() ? "max" : "");
      // Version 1 refuses a limit as long as it has not made room for it.
      auto& change = host.changes().back();
      change.act = [act = std::move(change.act)] {
        for (int attempt = 1;; ++attempt)
          try {
            return act();
          } catch (const std::system_error& e) {
            if (e.code().value() != EBUSY || attempt == 20) throw;
            ::usleep(20'000);
          }
      };
    }
    before = at_limit();
  }
  void measure(Dose& dose) {
    const auto met = at_limit() - before;
    dose.prescribed = {{"bytes_at_most", with.amount.bytes * static_cast<std::int64_t>(on.groups.size())}};
    dose.measured = {{"bytes", on.sum(on.v2() ? "memory.current" : "memory.usage_in_bytes")},
                     {"times_at_limit", met}};
    dose.samples = static_cast<std::uint64_t>(met);
    dose.verified = met > 0;
    if (!dose.verified) dose.doubt("nobody in the cgroup wanted more: the limit was never met");
  }

 private:
  const char* file() const { return on.v2() ? "memory.high" : "memory.limit_in_bytes"; }
  double at_limit() const { return on.v2() ? on.sum("memory.events", "high") : on.sum("memory.failcnt"); }
  MemoryLimit with;
  GroupTarget on;
  double before = 0;
};

}  // namespace

extern const FaultType memory_limit;
const FaultType memory_limit = fault<MemoryLimit, Limited>({
    .info = {.name = "memory.limit",
             .sentence = "squeezes the memory of a service",
             .aims = process_keys(),
             .undo = "the cgroup has the limit again that it had; what was killed for want of memory does "
                     "not come back",
             .examples = {"amount=64MiB --on listens_on=6379 --for 30s"},
             .mechanism = "a limit of the cgroup (memory.high, memory.limit_in_bytes)",
             .measures = "how often the cgroup came to its limit, and what it has",
             .missing = [] { return lacks_controller("memory"); }},
    .parameters = &parameters,
    .does = by_itself<MemoryLimit, Limited>(),
});

}  // namespace squall::faults
