// memory.limit: squeezes the memory of a service's cgroup.
#include <cstdlib>

#include <unistd.h>

#include "injector/faults/shape/group_target.hpp"
#include "injector/faults/shape/value_fault.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

struct LimitMemory {
  struct With {
    Size amount;
  };
  static const Object<With>& parameters() {
    static const auto all = Object<With>{"squeezes the memory of a service"}
                                .required("amount", &With::amount,
                                          "what its cgroup may have; beyond it the kernel takes pages back")
                                .between(&With::amount, Size{1 << 20}, Size{std::int64_t{1} << 46});
    return all;
  }

  LimitMemory(const With& with, Target& target) : with(with), on(target, "memory") {
    for (auto& group : on.groups)
      if (const auto now = std::atoll(read_file(group.folder + "/" + file()).value_or("").c_str());
          now > 0 && now <= with.amount.bytes)
        throw Unfit(
            fmt::format("the cgroup {} may have {} bytes already, no more than that", group.path, now));
  }
  std::string mechanism() const { return fmt::format("{} of cgroup v{}", file(), on.v2() ? 2 : 1); }
  std::vector<std::string> targets() const { return on.names(); }
  std::vector<std::string> claims() const { return on.claims("memory"); }
  Reach reach() const { return on.reach(); }
  std::vector<std::string> limits() const {
    std::vector<std::string> out{
        "everybody in the cgroup shares it, also those that the target does not select"};
    if (!on.v2())
      out.emplace_back(
          "where the cgroup needs more and can give nothing back, the kernel kills one of its processes");
    return out;
  }

  void apply(Transaction& host) {
    const auto page = ::sysconf(_SC_PAGESIZE);
    const auto bytes = std::to_string(with.amount.bytes / page * page);
    on.enable(host);
    for (auto& group : on.groups)
      cgroup::set_value(host, group, file(), bytes, bytes);
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
  With with;
  GroupTarget on;
  double before = 0;
};

std::vector<Capability> doctor() {
  const auto found = cgroup::hierarchy_with("memory");
  return {{.mechanism = "a limit on the memory of a cgroup",
           .possible = found.has_value(),
           .chosen = found.has_value(),
           .missing = found ? "" : found.error(),
           .measures = "how often the cgroup came to its limit, and what it has"}};
}

}  // namespace

extern const FaultType memory_limit;
const FaultType memory_limit = fault<LimitMemory>({
    .name = "memory.limit",
    .sentence = "squeezes the memory of a service",
    .aims = process_keys(),
    .undo =
        "the cgroup has the limit again that it had; what was killed for want of memory does not come back",
    .examples = {"amount=64MiB --on listens_on=6379 --for 30s"},
    .doctor = doctor,
});

}  // namespace squall::faults
