// How long each packet is delayed, with the meaning that netem(8) gives to jitter, distribution and
// correlation.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace squall {

// Jitter is the standard deviation of all of them but uniform, where it is the half width.
enum class Distribution { uniform, normal, pareto, paretonormal };

struct DelayShape {
  std::int64_t delay_ns = 0;
  std::int64_t jitter_ns = 0;
  Distribution distribution = Distribution::normal;
  double correlation = 0;  // 0 to 1, of each packet's chance with that of the one before
  // Recorded delays, ascending, one of which each packet gets; then `delay_ns` is their middle, and 4 jitters
  // reach the ends.
  std::shared_ptr<const std::vector<std::int64_t>> samples;
};

// Quantiles of the distribution around 0 in the fixed point of struct tc_netem (8192 is one jitter), at equal
// steps of probability; cut at ±4, the most that fits.
constexpr int netem_scale = 8192;
const std::vector<std::int16_t>& quantiles(Distribution);
// The same of a shape, recorded delays included: what netem can be told of it.
std::vector<std::int16_t> netem_table(const DelayShape&);
// Where that is not what was meant: how far it is off. The table's steps are a 65,536th of what lies between
// the least delay and the longest, so one outlier makes it coarse.
std::string netem_table_is_off(const DelayShape&);
// The shape that delays as these samples say (nanoseconds, at least 2 of them).
DelayShape recorded_delays(std::vector<std::int64_t> samples);

// What a shape prescribes that a share (0 to 1) of the delays does not exceed; packets are never sent before
// they came.
std::int64_t prescribed_quantile_ns(const DelayShape&, double share);
inline std::int64_t prescribed_median_ns(const DelayShape& shape) {
  return prescribed_quantile_ns(shape, 0.5);
}

// Draws delays; the same seed draws the same ones.
class DelaySampler {
 public:
  DelaySampler(const DelayShape&, std::uint64_t seed);
  std::int64_t next_ns();

 private:
  double chance();

  DelayShape shape_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  double last_ = 0;
};

}  // namespace squall
