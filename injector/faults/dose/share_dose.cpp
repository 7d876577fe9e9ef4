#include "injector/faults/dose/share_dose.hpp"

#include <cmath>

#include <fmt/format.h>

namespace squall::faults {
namespace {

void doubt(Dose& out, std::string reason) {
  out.verified = false;
  if (out.reason.empty()) out.reason = std::move(reason);
}

}  // namespace

double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

void judge_share(Dose& out, Percent share, const ShareSeen& seen, std::string_view cases,
                 std::string_view word) {
  out.prescribed["share_percent"] = share.value;
  out.measured[fmt::format("{}_matched", cases)] = seen.matched;
  out.measured[fmt::format("{}_{}", cases, word)] = seen.done;
  if (seen.unchanged) out.measured[fmt::format("{}_with_nothing_to_be_{}", cases, word)] = seen.unchanged;
  out.samples = seen.matched;
  out.verified = seen.done > 0;
  if (!seen.matched) return doubt(out, fmt::format("none of the {} matched", cases));
  out.measured["share_percent"] =
      rounded(100 * static_cast<double>(seen.done + seen.unchanged) / static_cast<double>(seen.matched));
  if (!seen.done)
    return doubt(out,
                 seen.rolled
                     ? fmt::format("none of {} {} had what was to be {}", seen.rolled, cases, word)
                     : fmt::format("of {} {} the share of {}% hit none", seen.matched, cases, share.value));
  // Three standard deviations of so many rolls.
  const auto n = static_cast<double>(seen.matched), p = share.fraction(),
             met = static_cast<double>(seen.done + seen.unchanged);
  const auto allowed = 3 * std::sqrt(n * p * (1 - p)) + 0.02 * n * p;
  if (met < n * p - allowed - static_cast<double>(seen.under_way) || met > n * p + allowed)
    doubt(out,
          fmt::format("expected {}% of the {} that matched, {} of {} were {}{}", share.value, cases,
                      seen.done, seen.matched, word,
                      seen.unchanged ? fmt::format(", {} had nothing to be {}", seen.unchanged, word) : ""));
}

void judge_delay(Dose& out, Duration delay, Duration jitter, std::uint64_t count, double median_ms) {
  const auto prescribed = delay.milliseconds();
  out.prescribed["delay_ms"] = prescribed;
  if (jitter.ns > 0) out.prescribed["jitter_ms"] = jitter.milliseconds();
  if (count == 0) return doubt(out, "none of them was passed on before the fault ended");
  out.measured["delay_ms"] = rounded(median_ms);
  // The mean of n delays is as far from the asked one as jitter makes it.
  const auto tolerance =
      0.05 * prescribed + 1 + 1.5 * jitter.milliseconds() / std::sqrt(static_cast<double>(count));
  if (std::abs(median_ms - prescribed) > tolerance)
    doubt(out, fmt::format("expected a median of {:g} ms, measured {:.1f} ms over {} of them", prescribed,
                           median_ms, count));
}

}  // namespace squall::faults
