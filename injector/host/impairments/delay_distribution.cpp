#include "injector/host/impairments/delay_distribution.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <numeric>

#include <fmt/format.h>

namespace squall {

namespace {

constexpr int table_size = 4096;

// The normal distribution's quantile, by bisection of its distribution function: exact to the table's
// rounding.
double normal_quantile(double p) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

// Pareto with the exponent 3, as tc(8) ships it: the largest exponent of a whole number with so long a tail.
double pareto_quantile(double p) {
  return std::pow(1 - p, -1.0 / 3) - 1.5;
}

double raw_quantile(Distribution distribution, double p) {
  switch (distribution) {
    case Distribution::uniform:
      return 2 * p - 1;
    case Distribution::normal:
      return normal_quantile(p);
    case Distribution::pareto:
      return pareto_quantile(p);
    case Distribution::paretonormal:
      return 0.25 * normal_quantile(p) + 0.75 * pareto_quantile(p) / std::sqrt(0.75);
  }
  return 0;
}

std::vector<double> standardised(std::vector<double> values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double square = 0;
  for (auto& value : values)
    value -= mean, square += value * value;
  for (auto& value : values)
    value /= std::sqrt(square / count);
  return values;
}

std::vector<std::int16_t> make_table(Distribution distribution) {
  std::vector<double> values(table_size);
  for (int i = 0; i < table_size; ++i)
    values[static_cast<std::size_t>(i)] = raw_quantile(distribution, (i + 0.5) / table_size);
  if (distribution != Distribution::uniform) {
    // Cutting the tail takes from the deviation, so it is set right afterwards; a few rounds settle it.
    for (int round = 0; round < 20; ++round) {
      values = standardised(std::move(values));
      for (auto& value : values)
        value = std::clamp(value, -3.9999, 3.9999);
    }
  }
  std::vector<std::int16_t> out;
  for (auto value : values)
    out.push_back(static_cast<std::int16_t>(std::lround(value * netem_scale)));
  return out;
}

// Of ascending values the one that so large a share does not exceed.
template <class T>
T at_share(const std::vector<T>& ascending, double share) {
  const auto count = static_cast<double>(ascending.size());
  return ascending[static_cast<std::size_t>(std::clamp(share * count, 0.0, count - 1))];
}

std::int64_t scaled(std::int64_t jitter_ns, std::int64_t quantile) {
  return jitter_ns / netem_scale * quantile + jitter_ns % netem_scale * quantile / netem_scale;
}

}  // namespace

const std::vector<std::int16_t>& quantiles(Distribution distribution) {
  static std::array<std::vector<std::int16_t>, 4> tables;
  static std::array<std::once_flag, 4> made;
  const auto index = static_cast<std::size_t>(distribution);
  std::call_once(made[index], [&] { tables[index] = make_table(distribution); });
  return tables[index];
}

DelayShape recorded_delays(std::vector<std::int64_t> samples) {
  std::sort(samples.begin(), samples.end());
  const auto least = samples.front(), most = samples.back();
  DelayShape out;
  out.delay_ns = least + (most - least) / 2;
  if (least == most) return out;
  // The table reaches from -4 jitters to 4.
  out.jitter_ns = (most - least + 7) / 8 + 1;
  out.samples = std::make_shared<const std::vector<std::int64_t>>(std::move(samples));
  return out;
}

std::vector<std::int16_t> netem_table(const DelayShape& shape) {
  if (!shape.samples) return quantiles(shape.distribution);
  std::vector<std::int16_t> out;
  for (int i = 0; i < table_size; ++i) {
    const auto from_middle =
        static_cast<double>(at_share(*shape.samples, (i + 0.5) / table_size) - shape.delay_ns) /
        static_cast<double>(shape.jitter_ns);
    out.push_back(
        static_cast<std::int16_t>(std::lround(std::clamp(from_middle, -3.9999, 3.9999) * netem_scale)));
  }
  return out;
}

std::string netem_table_is_off(const DelayShape& shape) {
  constexpr double most_off = 0.05, most_off_ns = 100'000;
  if (!shape.samples) return "";
  const auto table = netem_table(shape);
  for (auto [share, name] : {std::pair{0.5, "a median"}, std::pair{0.99, "a 99th percentile"}}) {
    const auto meant = static_cast<double>(prescribed_quantile_ns(shape, share)),
               told = static_cast<double>(shape.delay_ns + scaled(shape.jitter_ns, at_share(table, share)));
    const auto off = std::abs(told - meant);
    if (off > most_off * meant && off > most_off_ns)
      return fmt::format(
          "its table is too coarse for these samples: of {:.4g} ms it would make {} of {:.4g} ms",
          meant / 1e6, name, told / 1e6);
  }
  return "";
}

std::int64_t prescribed_quantile_ns(const DelayShape& shape, double share) {
  if (shape.jitter_ns == 0) return shape.delay_ns;
  if (shape.samples) return at_share(*shape.samples, share);
  return std::max<std::int64_t>(
      0, shape.delay_ns + scaled(shape.jitter_ns, at_share(quantiles(shape.distribution), share)));
}

DelaySampler::DelaySampler(const DelayShape& shape, std::uint64_t seed) : shape_(shape), random_(seed) {
  last_ = normal_(random_);
}

// A walk of normal numbers, each correlated with the one before, mapped back to even ones: correlation as
// netem(8) means it, without the narrowing of the distribution that its sum of even numbers brings.
double DelaySampler::chance() {
  if (shape_.correlation == 0) return static_cast<double>(random_() >> 11) * 0x1p-53;
  last_ =
      shape_.correlation * last_ + std::sqrt(1 - shape_.correlation * shape_.correlation) * normal_(random_);
  return 0.5 * std::erfc(-last_ / std::sqrt(2.0));
}

std::int64_t DelaySampler::next_ns() {
  return shape_.jitter_ns == 0 ? shape_.delay_ns : prescribed_quantile_ns(shape_, chance());
}

}  // namespace squall
