#include "reports/record/clocks.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace squall {
namespace {

constexpr std::int64_t ever = std::numeric_limits<std::int64_t>::max() / 4;

// The kernel's clock is slewed by 500 ppm at most (adjtimex(2)); ours and theirs may drift apart so fast.
std::int64_t drift(std::int64_t span_ns) {
  return (span_ns < 0 ? -span_ns : span_ns) / 2000;
}

// A stretch in which that clock did not step: readings [first, end), valid within [from, to].
struct Era {
  std::size_t first, end;
  std::int64_t from = -ever, to = ever;
};

std::vector<Era> eras(const std::vector<ClockReading>& all) {
  std::vector<Era> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].known) continue;
    if (out.empty() || all[i].stepped) {
      if (!out.empty()) out.back().to = all[i].t;
      out.push_back({i, i + 1, out.empty() ? -ever : all[i].held_t, ever});
    }
    out.back().end = i + 1;
  }
  return out;
}

// By the reading of the era that leaves the least error.
Instant within(const std::vector<ClockReading>& all, const Era& era, std::int64_t wall_ns) {
  std::optional<Instant> best;
  for (auto i = era.first; i < era.end; ++i) {
    if (!all[i].known) continue;
    const auto t = wall_ns - all[i].zero_ns;
    const auto error = all[i].error_ns + drift(t - all[i].t);
    if (!best || error < best->late_t - best->t) best = Instant{t, t - error, t + error, true};
  }
  return *best;
}

}  // namespace

void Clocks::add(const std::string& whose, const ClockReading& reading) {
  readings_[whose].push_back(reading);
}

bool Clocks::known(const std::string& whose) const {
  auto found = readings_.find(whose);
  return found != readings_.end() &&
         std::any_of(found->second.begin(), found->second.end(), [](auto& reading) { return reading.known; });
}

Instant Clocks::bring(const std::string& whose, std::int64_t wall_ns, std::int64_t seen_t,
                      std::int64_t likely_from_t) const {
  auto found = readings_.find(whose);
  if (found == readings_.end()) return Instant::exactly(seen_t);
  std::vector<Instant> all;
  for (auto& era : eras(found->second)) {
    const auto one = within(found->second, era, wall_ns);
    if (one.late_t >= era.from && one.early_t <= std::min(era.to, seen_t)) all.push_back(one);
  }
  auto likely = [&](const Instant& one) { return one.late_t >= likely_from_t; };
  if (std::any_of(all.begin(), all.end(), likely))
    std::erase_if(all, [&](auto& one) { return !likely(one); });
  // No reading explains it: it lies before what was seen, and nobody knows how long.
  if (all.empty()) return {seen_t, -ever, seen_t, false};
  auto out = all.back();
  for (auto& one : all)
    out.early_t = std::min(out.early_t, one.early_t), out.late_t = std::max(out.late_t, one.late_t);
  out.late_t = std::min(out.late_t, seen_t), out.t = std::min(out.t, seen_t);
  return out;
}

}  // namespace squall
