#include "reports/judge/clock_findings.hpp"

#include <algorithm>

#include "reports/record/text.hpp"

namespace squall {
namespace {

constexpr std::int64_t worth_a_word_ns = 500'000'000;

std::string span(std::int64_t ns) {
  return text::seconds(static_cast<double>(ns < 0 ? -ns : ns) / 1e9);
}

std::string within(std::int64_t error_ns) {
  return error_ns < 1'000'000 ? "within 1 ms" : "within " + span(error_ns);
}

}  // namespace

std::vector<std::string> clock_findings(const RunRecord& record) {
  std::vector<std::string> out;
  for (auto& step : record.own_steps)
    out.push_back(fmt::format(
        "this machine's clock was set {} by {} at {}; times here are by one that is never set",
        step.by_ns < 0 ? "back" : "forward", span(step.by_ns), text::clock(record.wall_ns(step.t))));
  for (auto& [whose, readings] : record.clocks.all()) {
    if (!record.clocks.known(whose)) {
      out.push_back(
          fmt::format("the clock of {} could not be compared with ours: its times are taken as told", whose));
      continue;
    }
    const auto best = std::min_element(readings.begin(), readings.end(), [](auto& a, auto& b) {
      return (a.known ? a.error_ns : INT64_MAX) < (b.known ? b.error_ns : INT64_MAX);
    });
    const auto off = best->zero_ns - record.wall_start_ns;
    if (off > worth_a_word_ns || off < -worth_a_word_ns)
      out.push_back(fmt::format("the clock of {} is {} {} ({}); its times are corrected by that", whose,
                                span(off), off < 0 ? "behind" : "ahead", within(best->error_ns)));
    for (auto& reading : readings)
      if (reading.stepped)
        out.push_back(fmt::format("the clock of {} was set during the drill, between {} and {}", whose,
                                  text::clock(record.wall_ns(reading.held_t)),
                                  text::clock(record.wall_ns(reading.t))));
  }
  return out;
}

std::int64_t fault_clock_error_ns(const RunRecord& record) {
  std::int64_t out = 0;
  for (auto& fault : record.faults)
    if (fault.applied_t) out = std::max(out, fault.clock_error_ns);
  return out;
}

Finding beyond_clock_error(const RunRecord& record,
                           const std::function<Finding(std::int64_t, std::int64_t)>& at) {
  auto out = at(0, 0);
  const auto error = fault_clock_error_ns(record);
  if (error < 1'000'000 || out.outcome == Outcome::inconclusive) return out;  // nearer than probes are due
  for (auto begin : {-error, error})
    for (auto end : {-error, error})
      if (const auto other = at(begin, end); other.outcome != out.outcome)
        return {Outcome::inconclusive,
                fmt::format("{}; the fault's times are known within {} only, and {} would be as possible",
                            out.evidence, span(error), other.evidence)};
  return out;
}

}  // namespace squall
