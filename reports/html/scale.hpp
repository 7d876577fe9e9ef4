// From time and latency to places in a drawing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace squall {

struct TimeScale {
  std::int64_t from_t = 0, to_t = 1;
  double left = 0, right = 1;
  double x(std::int64_t t) const {
    const double share =
        static_cast<double>(t - from_t) / static_cast<double>(std::max<std::int64_t>(1, to_t - from_t));
    return left + std::clamp(share, 0.0, 1.0) * (right - left);
  }
  // Round times between the ends, counted from `zero`, at most `most` of them.
  std::vector<std::int64_t> ticks(std::int64_t zero, int most) const;
};

// Decades of milliseconds: a drill shows answers of one and of a thousand milliseconds beside each other.
struct LatencyScale {
  double low_ms = 1, high_ms = 1000;
  double top = 0, bottom = 1;
  double y(double ms) const {
    const double share = std::log10(std::max(ms, low_ms) / low_ms) / std::log10(high_ms / low_ms);
    return bottom - std::clamp(share, 0.0, 1.0) * (bottom - top);
  }
  std::vector<double> decades() const;
  static LatencyScale around(double least_ms, double most_ms);
};

}  // namespace squall
