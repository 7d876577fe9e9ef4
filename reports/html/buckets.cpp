#include "reports/html/buckets.hpp"

#include <algorithm>
#include <array>

namespace squall {

std::int64_t bucket_width(std::int64_t span_ns, std::int64_t samples, std::int64_t most) {
  constexpr std::int64_t ms = 1'000'000, s = 1000 * ms;
  static constexpr std::array round{100 * ms, 200 * ms, 250 * ms, 500 * ms, s,      2 * s,
                                    5 * s,    10 * s,   15 * s,   30 * s,   60 * s, 120 * s,
                                    300 * s,  600 * s,  1800 * s, 3600 * s};
  const auto slices = std::max<std::int64_t>(1, std::min(most, samples / 4));
  for (auto width : round)
    if (span_ns / width <= slices) return width;
  return std::max(round.back(), span_ns / most + 1);
}

Buckets thin_out(const std::vector<ServiceSample>& samples, std::int64_t from_t, std::int64_t to_t,
                 std::int64_t width_ns) {
  Buckets out{from_t, width_ns, {}};
  const auto count =
      static_cast<std::size_t>(std::max<std::int64_t>(1, (to_t - from_t + width_ns - 1) / width_ns));
  std::vector<std::vector<double>> ms(count);
  out.buckets.resize(count);
  for (std::size_t i = 0; i < count; ++i)
    out.buckets[i].from_t = from_t + static_cast<std::int64_t>(i) * width_ns;
  for (auto& one : samples) {
    const auto due = one.sample->due_ns;
    if (due < from_t || due >= to_t || one.sample->unseen) continue;
    const auto i = static_cast<std::size_t>((due - from_t) / width_ns);
    ++out.buckets[i].probes;
    out.buckets[i].failed += !one.sample->ok;
    if (one.sample->ok || one.timed_out) ms[i].push_back(static_cast<double>(one.sample->latency_ns) / 1e6);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (ms[i].empty()) continue;
    std::sort(ms[i].begin(), ms[i].end());
    out.buckets[i].p50_ms = quantile(ms[i], 0.5);
    out.buckets[i].slowest_ms = ms[i].back();
  }
  return out;
}

}  // namespace squall
