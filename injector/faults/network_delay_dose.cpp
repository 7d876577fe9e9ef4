#include "injector/faults/network_delay_dose.hpp"

#include <cmath>

#include <fmt/format.h>

namespace squall::faults {

namespace {

// Rounded to a microsecond: finer is noise.
double told(double milliseconds) { return std::round(milliseconds * 1000) / 1000; }

std::string doubt(const DelayShape& shape, const DelayDose& dose) {
  if (dose.packets == 0)
    return dose.holding ? fmt::format("no packet was through its delay yet; {} wait", dose.holding) : "no packet matched: nothing was delayed";
  if (dose.held->count() == 0) return dose.level < 1 ? "still being ramped up" : "no packet came while the dose was full";
  const double asked = static_cast<double>(prescribed_median_ns(shape)) / 1e6;
  // Of random delays the median of a few is itself random: 1.25 deviations by the root of their number.
  const double chance = 4 * 1.25 * static_cast<double>(shape.jitter_ns) / 1e6 / std::sqrt(static_cast<double>(dose.held->count()));
  const double got = dose.held->quantile_ms(0.5);
  if (std::abs(got - asked) <= 0.05 * asked + 1 + chance) return "";
  return fmt::format("expected a median of {:.3f} ms, measured {:.3f} ms over {} packets", asked, got, dose.held->count());
}

}  // namespace

Dose delay_dose(const DelayShape& shape, const DelayDose& measured) {
  Dose out;
  out.prescribed = {{"delay_ms", static_cast<double>(shape.delay_ns) / 1e6}};
  if (shape.jitter_ns) out.prescribed["jitter_ms"] = static_cast<double>(shape.jitter_ns) / 1e6;
  out.measured = {{"packets", measured.packets}};
  if (measured.held->count()) {
    out.measured["delay_ms"] = told(measured.held->quantile_ms(0.5));
    out.measured["delay_p99_ms"] = told(measured.held->quantile_ms(0.99));
    // The half of the middle 68 %: the deviation, where the distribution is a normal one.
    if (shape.jitter_ns) out.measured["jitter_ms"] = told((measured.held->quantile_ms(0.841) - measured.held->quantile_ms(0.159)) / 2);
  }
  if (measured.overflowed) out.measured["undelayed_packets"] = measured.overflowed;
  if (measured.lost) out.measured["lost_packets"] = measured.lost;
  out.samples = measured.held->count();
  out.reason = doubt(shape, measured);
  out.verified = out.reason.empty();
  return out;
}

}  // namespace squall::faults
