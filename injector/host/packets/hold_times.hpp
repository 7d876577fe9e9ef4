// How long packets were held, as a histogram of nanoseconds: 256 buckets an octave, so a quantile is exact to
// 0.4 %.
#pragma once

#include <cstdint>
#include <vector>

namespace squall {

class HoldTimes {
 public:
  void add(std::int64_t ns);
  void add(const HoldTimes&);
  std::uint64_t count() const { return count_; }
  // The value that a share (0 to 1) of the packets does not exceed; 0 where there is none.
  double quantile_ms(double share) const;

 private:
  std::vector<std::uint32_t> buckets_ = std::vector<std::uint32_t>(40 * 256);
  std::uint64_t count_ = 0;
};

}  // namespace squall
