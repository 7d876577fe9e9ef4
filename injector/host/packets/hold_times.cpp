#include "injector/host/packets/hold_times.hpp"

#include <algorithm>
#include <bit>

namespace squall {

namespace {

std::size_t bucket_of(std::uint64_t ns) {
  if (ns < 256) return ns;
  const auto octave = static_cast<unsigned>(std::bit_width(ns)) - 9;
  return (octave + 1) * 256 + ((ns >> octave) & 255);
}

double middle_of(std::size_t bucket) {
  if (bucket < 256) return static_cast<double>(bucket);
  const auto octave = bucket / 256 - 1;
  return (static_cast<double>(256 + bucket % 256) + 0.5) * static_cast<double>(std::uint64_t{1} << octave);
}

}  // namespace

void HoldTimes::add(std::int64_t ns) {
  const auto bucket = bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)));
  ++buckets_[std::min(bucket, buckets_.size() - 1)];
  ++count_;
}

void HoldTimes::add(const HoldTimes& others) {
  for (std::size_t i = 0; i < buckets_.size(); ++i)
    buckets_[i] += others.buckets_[i];
  count_ += others.count_;
}

double HoldTimes::quantile_ms(double share) const {
  const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen > wanted || (seen == count_ && seen)) return middle_of(i) / 1e6;
  }
  return 0;
}

}  // namespace squall
