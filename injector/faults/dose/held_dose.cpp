#include "injector/faults/dose/held_dose.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace squall::faults {
namespace {

// The delays that were chosen against those asked for.
std::string chosen_unlike(std::vector<float> chosen, double delay_ms, double jitter_ms,
                          std::string_view things) {
  std::sort(chosen.begin(), chosen.end());
  const auto median = quantile(chosen, 0.5);
  if (jitter_ms <= 0)
    return std::abs(median - delay_ms) <= 1
               ? ""
               : fmt::format("expected {:g} ms for each of the {}, chosen was a median of {:.1f} ms",
                             delay_ms, things, median);
  // Kolmogorov and Smirnov: further from a uniform distribution than once in a thousand times. No delay is
  // below 0.
  const auto n = static_cast<double>(chosen.size());
  double furthest = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i] <= 0) continue;
    const auto below =
        std::clamp((static_cast<double>(chosen[i]) - delay_ms + jitter_ms) / (2 * jitter_ms), 0.0, 1.0);
    furthest = std::max(furthest, std::abs(below - (static_cast<double>(i) + 0.5) / n));
  }
  if (furthest <= 1.95 / std::sqrt(n) + 0.01) return "";
  return fmt::format("expected {:g} ± {:g} ms, chosen was a median of {:.1f} ms over {} {}", delay_ms,
                     jitter_ms, median, chosen.size(), things);
}

}  // namespace

void HeldTimes::add(const proxy::LinkCounters& link) {
  for (auto [to, from] :
       {std::pair{&held, &link.held_ms}, {&rolled, &link.rolled_ms}, {&late, &link.late_ms}})
    to->insert(to->end(), from->begin(), from->end());
}

double quantile(std::vector<float> all, double share) {
  if (all.empty()) return 0;
  const auto it = all.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(all.size() - 1));
  std::nth_element(all.begin(), it, all.end());
  return static_cast<double>(*it);
}

std::string unlike(const HeldTimes& times, Duration delay, Duration jitter, std::string_view things) {
  const auto n = times.held.size();
  std::size_t early = 0;
  for (std::size_t i = 0; i < n; ++i)
    early += times.held[i] < times.rolled[i] * 0.999F - 0.01F;
  const auto late = quantile(times.late, 0.5);
  if (early) return fmt::format("{} of {} {} left before their time", early, n, things);
  if (late > 0.05 * delay.milliseconds() + 1)
    return fmt::format("half of the {} left {:.1f} ms or more after their time", things, late);
  return chosen_unlike(times.rolled, delay.milliseconds(), jitter.milliseconds(), things);
}

}  // namespace squall::faults
