#include "reports/html/scale.hpp"

#include <array>

namespace squall {

std::vector<std::int64_t> TimeScale::ticks(std::int64_t zero, int most) const {
  constexpr std::int64_t s = 1'000'000'000;
  static constexpr std::array steps{s,      2 * s,   5 * s,   10 * s,  15 * s,   30 * s,
                                    60 * s, 120 * s, 300 * s, 600 * s, 1800 * s, 3600 * s};
  auto step = steps.back();
  for (auto candidate : steps)
    if ((to_t - from_t) / candidate < most) {
      step = candidate;
      break;
    }
  while ((to_t - from_t) / step >= most)
    step *= 2;
  std::vector<std::int64_t> out;
  const auto first =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(from_t - zero) / static_cast<double>(step)));
  for (auto t = zero + first * step; t <= to_t; t += step)
    out.push_back(t);
  return out;
}

std::vector<double> LatencyScale::decades() const {
  std::vector<double> out;
  for (double ms = low_ms; ms <= high_ms * 1.0001; ms *= 10)
    out.push_back(ms);
  return out;
}

LatencyScale LatencyScale::around(double least_ms, double most_ms) {
  LatencyScale out;
  out.low_ms = std::pow(10, std::floor(std::log10(std::max(least_ms, 0.01))));
  out.high_ms = std::pow(10, std::ceil(std::log10(std::max(most_ms, out.low_ms * 1.01))));
  if (out.high_ms <= out.low_ms) out.high_ms = out.low_ms * 10;
  return out;
}

}  // namespace squall
