// memory.fill: occupies memory, at once or like a leak.
#include <sstream>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/processes/worker.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

// "MemTotal:   8000000 kB" of a file of /proc; 0 where it has no such line.
std::int64_t kib_of(const std::string& file, const std::string& key) {
  std::istringstream lines{read_file(file).value_or("")};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key + ":")) return std::atoll(line.c_str() + key.size() + 1);
  return 0;
}

struct MemoryFill {
  std::optional<Size> amount;
  std::optional<Percent> share;
  std::optional<Rate> rate;
  bool killable = false;
};
const auto parameters =
    Object<MemoryFill>{"occupies memory"}
        .optional("amount", &MemoryFill::amount, "how much")
        .between(&MemoryFill::amount, Size{1 << 20}, Size{std::int64_t{1} << 46})
        .optional("share", &MemoryFill::share, "or a share of the host's memory")
        .between(&MemoryFill::share, Percent{0.1}, Percent{95})
        .optional("rate", &MemoryFill::rate, "so fast, like a leak; all at once where it is not given")
        .between(&MemoryFill::rate, Rate{4096}, Rate{std::int64_t{1} << 40})
        .optional("killable", &MemoryFill::killable,
                  "offered first to the kernel when memory runs out; otherwise kept from being killed",
                  "false")
        .rule([](const MemoryFill& with, const Value& value, Diagnostics& diagnostics) {
          if (with.amount.has_value() == with.share.has_value())
            diagnostics.error(value.place, "expected either amount or share");
        });

struct Filled {
  Filled(const MemoryFill& with, Target& target)
      : with(with),
        bytes(wanted(with)),
        worker({"hold", std::to_string(bytes), std::to_string(with.rate ? with.rate->bytes_per_second : 0),
                with.killable ? "1000" : "-1000"}) {
    const auto available = kib_of("/proc/meminfo", "MemAvailable") * 1024;
    if (!with.killable && bytes > available)
      target.refuse(with.amount ? "amount" : "share",
                    fmt::format("{} bytes are asked for and {} are available: others would be killed for it; "
                                "killable=true offers it first",
                                bytes, available));
    target.name(fmt::format("{} bytes of the host's memory", bytes));
    target.claim({.resource = "memory of", .scope = "the host"});
  }

  void apply(Transaction& host) {
    start_worker(host, worker, fmt::format("start a process that holds {} bytes", bytes));
    began_ns = monotonic_ns();
  }
  // What the kernel counts as that process's own memory.
  void measure(Dose& dose) {
    const auto status = fmt::format("/proc/{}/status", worker.pid());
    if (const auto heard = worker.heard(); !heard.empty()) own = heard.front();
    const auto held =
        std::max<std::int64_t>(0, (kib_of(status, "RssAnon") + kib_of(status, "VmSwap")) * 1024 - own);
    const auto seconds = static_cast<double>(monotonic_ns() - began_ns) / 1e9;
    const auto due = with.rate ? std::min(static_cast<double>(bytes),
                                          seconds * static_cast<double>(with.rate->bytes_per_second))
                               : static_cast<double>(bytes);
    if (with.rate) dose.note("bytes_at_the_end", bytes);
    // What it takes besides for its stack, and a moment of the rate.
    const auto slack = 256 << 10;
    const auto late = with.rate ? 0.1 * static_cast<double>(with.rate->bytes_per_second) : 0;
    dose.expect("bytes", due, static_cast<double>(held), due > 0 ? 0.01 + (slack + late) / due : 0);
    if (!worker.alive())
      dose.doubt("the process that holds it is gone: killed for want of memory, or by somebody");
    else if (!with.rate && !dose.verified && seconds < 2)
      dose.reason = "it has only just begun";
  }

 private:
  static std::int64_t wanted(const MemoryFill& with) {
    if (with.amount) return with.amount->bytes;
    return static_cast<std::int64_t>(with.share->fraction() * 1024 *
                                     static_cast<double>(kib_of("/proc/meminfo", "MemTotal")));
  }
  MemoryFill with;
  std::int64_t bytes;
  Worker worker;
  std::int64_t own = 0;  // bytes that it has besides
  std::int64_t began_ns = 0;
};

}  // namespace

extern const FaultType memory_fill;
const FaultType memory_fill = fault<MemoryFill, Filled>({
    .info = {.name = "memory.fill",
             .sentence = "occupies memory, at once or at a rate, like a leak",
             .undo = "the process that holds it is ended; pages that others lost to swap or to disk come "
                     "back when they "
                     "are used",
             .examples = {"amount=64MiB --for 10s", "share=1% rate=10MiB/s --for 30s"},
             .mechanism = "a process of its own, resident",
             .measures = "what the kernel counts as its memory"},
    .parameters = &parameters,
    .does = by_itself<MemoryFill, Filled>(),
});

}  // namespace squall::faults
