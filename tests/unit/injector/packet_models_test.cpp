// What the models of packet faults draw, held against what they say.
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "injector/host/impairments/impairment.hpp"

namespace squall {
namespace {

struct Drawn {
  double share = 0, burst = 0;
  std::map<int, int> runs;  // of losses, by their length
};

Drawn draw(const LossShape& shape, int packets, double level = 1) {
  LossSampler sampler{shape, 7};
  Drawn out;
  int lost = 0, run = 0;
  for (int i = 0; i < packets; ++i) {
    if (sampler.next(level)) {
      ++lost, ++run;
    } else if (run) {
      ++out.runs[run];
      run = 0;
    }
  }
  int runs = 0;
  for (auto& [length, count] : out.runs)
    runs += count;
  out.share = static_cast<double>(lost) / packets;
  out.burst = runs ? static_cast<double>(lost) / runs : 0;
  return out;
}

TEST(LossModel, each_model_keeps_its_word) {
  LossShape elliott{
      .worsens = 0.05, .recovers = 0.2, .when_bad = 0.75, .when_good = 0.02, .markov = {}, .every = 0};
  LossShape four{.markov = MarkovLoss{0.1, 0.3, 0.2, 0.4, 0.02}};
  for (auto& shape : {LossShape::independent(0.05), LossShape::in_bursts(0.1, 6),
                      LossShape::correlated(0.3, 0.5), elliott, four}) {
    const auto drawn = draw(shape, 400'000);
    EXPECT_NEAR(drawn.share, shape.share(), 0.03 * shape.share());
    EXPECT_NEAR(drawn.burst, shape.mean_burst(), 0.03 * shape.mean_burst());
    EXPECT_NEAR(draw(shape, 400'000, 0.5).share, shape.share() / 2, 0.03 * shape.share());
  }
}

TEST(LossModel, asked_figures_come_out) {
  EXPECT_NEAR(LossShape::in_bursts(0.1, 6).share(), 0.1, 1e-9);
  EXPECT_NEAR(LossShape::in_bursts(0.1, 6).mean_burst(), 6, 1e-9);
  EXPECT_NEAR(LossShape::correlated(0.3, 0.5).share(), 0.3, 1e-9);
  EXPECT_NEAR(LossShape::independent(0.25).mean_burst(), 1 / 0.75, 1e-9);
}

// Runs of losses in Gilbert's model are geometric: a chi-square test of their lengths.
TEST(LossModel, bursts_are_as_long_as_gilbert_says) {
  const auto shape = LossShape::in_bursts(0.2, 4);
  const auto drawn = draw(shape, 200'000);
  int all = 0;
  for (auto& [length, count] : drawn.runs)
    all += count;
  double square = 0;
  int cells = 0, rest = all;
  double rest_expected = all;
  for (int length = 1; length <= 15; ++length) {
    const double expected = all * std::pow(1 - shape.recovers, length - 1) * shape.recovers;
    const int got = drawn.runs.contains(length) ? drawn.runs.at(length) : 0;
    square += (got - expected) * (got - expected) / expected;
    rest -= got, rest_expected -= expected, ++cells;
  }
  square += (rest - rest_expected) * (rest - rest_expected) / rest_expected, ++cells;
  EXPECT_LT(square, 37.7) << "15 degrees of freedom exceed this once in a thousand times";
  ASSERT_EQ(cells, 16);
}

TEST(LossModel, every_and_all) {
  const LossShape third{.every = 3};
  LossSampler sampler{third, 1};
  std::string said;
  for (int i = 0; i < 9; ++i)
    said += sampler.next(1) ? 'x' : '.';
  EXPECT_EQ(said, "..x..x..x");
  EXPECT_EQ(draw(LossShape::independent(1), 1000).share, 1);
  EXPECT_EQ(draw(LossShape::independent(0.5), 1000, 0).share, 0);
}

TEST(Fates, the_same_seed_draws_the_same) {
  Impairment what;
  what.loss = LossShape::independent(0.1);
  what.duplicate = what.corrupt = 0.2;
  what.reorder = ReorderShape{0.5, 3};
  auto told = [&](std::uint64_t seed) {
    FateSampler fates{what, seed};
    std::string out;
    for (int i = 0; i < 500; ++i) {
      const auto fate = fates.next(1);
      out += static_cast<char>('a' + fate.lost + 2 * fate.duplicated + 4 * fate.corrupted + 8 * fate.at_once);
    }
    return out;
  };
  EXPECT_EQ(told(3), told(3));
  EXPECT_NE(told(3), told(4));
}

TEST(RateLimit, lets_the_bucket_pass_and_then_the_rate) {
  RateLimit line{{1'000'000, 3'000, 10'000}};
  const std::int64_t start = 5'000'000'000, ms = 1'000'000;
  EXPECT_EQ(line.pass(start, 1'000, 1), start);
  EXPECT_EQ(line.pass(start, 1'000, 1), start);
  EXPECT_EQ(line.pass(start, 1'000, 1), start);
  EXPECT_EQ(line.pass(start, 1'000, 1), start + 1 * ms);
  EXPECT_EQ(line.pass(start, 1'000, 1), start + 2 * ms);
  for (int i = 0; i < 9; ++i)
    EXPECT_TRUE(line.pass(start, 1'000, 1));
  EXPECT_FALSE(line.pass(start, 1'000, 1)) << "the queue is full";
  EXPECT_EQ(line.pass(start + 1'000 * ms, 1'000, 1), start + 1'000 * ms)
      << "after a pause the bucket is full again";
}

TEST(RateLimit, half_of_the_dose_is_twice_the_rate) {
  RateLimit line{{1'000'000, 0, 100'000}};
  EXPECT_EQ(line.pass(1'000'000'000, 1'000, 0.5), 1'000'500'000);
  EXPECT_EQ(line.pass(1'000'000'000, 1'000, 0), 1'000'000'000);
}

// Kolmogorov and Smirnov: the distance of 5,000 drawn delays from those that were recorded.
TEST(RecordedDelays, are_replayed_in_their_distribution) {
  std::vector<std::int64_t> samples;
  for (int i = 1; i <= 1000; ++i)
    samples.push_back(static_cast<std::int64_t>(2e6 * -std::log(1 - (i - 0.5) / 1000)));
  DelaySampler sampler{recorded_delays(samples), 11};
  std::vector<std::int64_t> drawn;
  for (int i = 0; i < 5'000; ++i)
    drawn.push_back(sampler.next_ns());
  std::sort(drawn.begin(), drawn.end());
  double distance = 0;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const auto below = 1 - std::exp(-static_cast<double>(drawn[i]) / 2e6);
    distance = std::max(distance, std::abs(below - (static_cast<double>(i) + 0.5) / 5'000));
  }
  EXPECT_LT(distance, 1.63 / std::sqrt(5'000.0));
}

std::vector<std::int64_t> drawn(const DelayShape& shape, int count) {
  DelaySampler sampler{shape, 11};
  std::vector<std::int64_t> out;
  for (int i = 0; i < count; ++i)
    out.push_back(sampler.next_ns());
  return out;
}

TEST(RecordedDelays, keep_their_values_beside_an_outlier) {
  std::vector<std::int64_t> samples(999, 400'000);
  samples.push_back(60'000'000'000);
  const auto shape = recorded_delays(samples);
  EXPECT_EQ(prescribed_median_ns(shape), 400'000);
  int outliers = 0;
  for (const auto delay : drawn(shape, 20'000)) {
    EXPECT_TRUE(delay == 400'000 || delay == 60'000'000'000) << delay;
    outliers += delay > 400'000;
  }
  EXPECT_NEAR(outliers, 20, 18);
  EXPECT_EQ(netem_table_is_off(shape),
            "its table is too coarse for these samples: of 0.4 ms it would make a median of 1.316 ms");
}

TEST(RecordedDelays, can_each_come) {
  std::vector<std::int64_t> samples;
  for (int i = 0; i < 65'536; ++i)
    samples.push_back(i * 1'000);
  const auto shape = recorded_delays(samples);
  std::set<std::int64_t> seen;
  for (const auto delay : drawn(shape, 65'536))
    seen.insert(delay);
  EXPECT_NEAR(static_cast<double>(seen.size()), 65'536 * (1 - std::exp(-1)), 1'000);
  EXPECT_EQ(netem_table_is_off(shape), "");
}

}  // namespace
}  // namespace squall
