// What packets really met with, held against the distributions that were asked for: thousands of real
// packets, their delays by Kolmogorov and Smirnov's test, the lengths of their bursts of losses by the
// chi-square test.
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

using testing::ping;
using testing::Pings;

// Sorted draws of what a distribution is said to be: deviation 1 around 0 and cut at 4 deviations (netem's
// tables hold no more), from the textbook's definitions and not from the tables under test.
std::vector<double> reference(const std::string& distribution) {
  std::mt19937_64 random{20};
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> chance{1e-12, 1};
  // Pareto's exponent is 3; the mixture is that of paretonormal in tc(8): a quarter normal, the rest Pareto.
  auto pareto = [&](double p) { return (std::pow(p, -1.0 / 3) - 1.5) / std::sqrt(0.75); };
  std::vector<double> out(400'000);
  for (auto& value : out) {
    if (distribution == "uniform") value = 2 * chance(random) - 1;
    if (distribution == "normal") value = normal(random);
    if (distribution == "pareto") value = pareto(chance(random));
    // By quantiles: the same chance decides both parts.
    if (distribution == "paretonormal") {
      const auto z = normal(random);
      value = 0.25 * z + 0.75 * pareto(0.5 * std::erfc(z / std::sqrt(2.0)));
    }
  }
  for (int round = 0; round < 30 && distribution != "uniform"; ++round) {
    const auto count = static_cast<double>(out.size());
    const double mean = std::accumulate(out.begin(), out.end(), 0.0) / count;
    const double square = std::accumulate(out.begin(), out.end(), 0.0, [&](double sum, double value) {
      return sum + (value - mean) * (value - mean);
    });
    for (auto& value : out)
      value = std::clamp((value - mean) / std::sqrt(square / count), -4.0, 4.0);
  }
  std::sort(out.begin(), out.end());
  return out;
}

double share_below(const std::vector<double>& sorted, double value) {
  return static_cast<double>(std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin()) /
         static_cast<double>(sorted.size());
}

// How far the two distribution functions are apart at most, on either side of what was expected.
struct Apart {
  double earlier = 0, later = 0;
};

// What was seen may be up to `late` later than expected: late timers are the machine's, not the
// distribution's.
Apart distance(std::vector<double> seen, const std::vector<double>& expected, double late) {
  std::sort(seen.begin(), seen.end());
  Apart out;
  const auto count = static_cast<double>(seen.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    out.earlier = std::max(out.earlier, static_cast<double>(i + 1) / count - share_below(expected, seen[i]));
    out.later = std::max(out.later, share_below(expected, seen[i] - late) - static_cast<double>(i) / count);
  }
  return out;
}

class NetworkDistributions : public testing::PacketsBy {
 protected:
  static constexpr unsigned many = 5'000;
  // Exceeded once in a hundred times where the distributions are the same.
  static double critical(unsigned count) { return 1.63 / std::sqrt(count); }

  // A guest's emulated processor needs pauses.
  Pings pings(unsigned count, int patience_ms) const {
    return ping("10.99.0.2", port, count, kernel() ? 2'000 : 300, patience_ms);
  }

  // A busy machine makes packets later: one quiet window of some is enough, and its timers say how quiet it
  // was.
  void expect_distribution(const std::vector<double>& expected_ms, const std::string& what) const {
    std::string wrong;
    for (int attempt = 0; attempt < 4; ++attempt) {
      testing::TimerLateness timers;
      const auto seen = pings(many, 500);
      const auto late = timers.most_ms(1 - later_still) + base_late_ms;
      ASSERT_EQ(seen.lost(), 0U);
      auto delays = seen.round_trips_ms;
      for (auto& delay : delays)
        delay -= base_ms;
      const auto apart = distance(delays, expected_ms, late);
      if (apart.earlier < critical(many) && apart.later < critical(many) + later_still) return;
      wrong +=
          fmt::format("{:.4f} earlier, {:.4f} later, {:.4f} are allowed; timers were late by {:.3f} ms\n",
                      apart.earlier, apart.later, critical(many), late);
    }
    ADD_FAILURE() << what << ":\n" << wrong;
  }

  // Round trips without a fault: the least, and how much more nearly all of them take.
  void look_at_base() {
    const auto idle = pings(kernel() ? 300 : 2'000, 500);
    base_ms = idle.quantile(0.001);
    base_late_ms = idle.quantile(1 - later_still) - base_ms;
  }

  static constexpr double later_still = 0.01;  // of the timers, and of the round trips
  double base_ms = 0, base_late_ms = 0;
};

INSTANTIATE_TEST_SUITE_P(By, NetworkDistributions, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(NetworkDistributions, of_delays_are_those_asked_for) {
  look_at_base();
  for (auto* distribution : {"uniform", "normal", "pareto", "paretonormal"}) {
    auto expected = reference(distribution);
    for (auto& value : expected)
      value = std::max(0.0, 60 + 12 * value);
    auto fault = this->fault(
        "network.delay",
        {{"delay", "60ms"}, {"jitter", "12ms"}, {"distribution", distribution}, {"protocol", "udp"}});
    fault.apply();
    expect_distribution(expected, distribution);
  }
}

TEST_P(NetworkDistributions, of_recorded_delays_is_theirs) {
  look_at_base();
  // Two humps and a tail, as of a cache that misses at times.
  std::mt19937_64 random{4};
  std::vector<double> recorded;
  boost::json::array samples;
  for (int i = 0; i < 1'000; ++i) {
    const double ms = i % 10 < 7 ? 8 + 2 * std::normal_distribution<double>{}(random)
                                 : 40 + std::exponential_distribution<double>{0.1}(random);
    recorded.push_back(std::round(std::max(0.5, ms) * 1000) / 1000);
    samples.emplace_back(fmt::format("{:.0f}us", recorded.back() * 1000));
  }
  std::sort(recorded.begin(), recorded.end());
  auto fault = this->fault("network.delay", {{"samples", samples}, {"protocol", "udp"}});
  fault.apply();
  expect_distribution(recorded, "recorded");
}

// A good and a bad state; what is lost in each; how likely a burst of losses has each length.
struct GilbertElliott {
  double worsens, recovers, when_bad, when_good;

  std::vector<double> lengths(std::size_t most) const {
    using State = std::array<double, 2>;  // good, bad
    const State lost{when_good, when_bad};
    auto then = [&](const State& from, bool loses) {
      const State next{from[0] * (1 - worsens) + from[1] * recovers,
                       from[0] * worsens + from[1] * (1 - recovers)};
      return State{next[0] * (loses ? lost[0] : 1 - lost[0]), next[1] * (loses ? lost[1] : 1 - lost[1])};
    };
    const double bad = worsens / (worsens + recovers);
    // A burst begins behind a packet that passed.
    auto state = then({(1 - bad) * (1 - lost[0]), bad * (1 - lost[1])}, true);
    const double begins = state[0] + state[1];
    std::vector<double> out;
    for (std::size_t length = 1; length <= most; ++length) {
      const auto on = then(state, true);
      out.push_back((state[0] + state[1] - on[0] - on[1]) / begins);
      state = on;
    }
    return out;
  }
};

std::map<unsigned, unsigned> bursts(const std::vector<bool>& answered) {
  std::map<unsigned, unsigned> out;
  unsigned run = 0;
  for (const bool there : answered) {
    if (!there) ++run;
    if (there && run) ++out[std::exchange(run, 0)];
  }
  return out;
}

TEST_P(NetworkDistributions, of_bursts_are_those_of_gilbert_and_elliott) {
  for (auto model : {GilbertElliott{0.05, 0.25, 1, 0}, GilbertElliott{0.04, 0.15, 0.8, 0.02}}) {
    auto percent = [](double share) { return fmt::format("{}%", share * 100); };
    auto fault = this->fault("network.loss", {{"protocol", "udp"},
                                              {"gilbert_elliott",
                                               {{"worsens", percent(model.worsens)},
                                                {"recovers", percent(model.recovers)},
                                                {"when_bad", percent(model.when_bad)},
                                                {"when_good", percent(model.when_good)}}}});
    fault.apply();
    const unsigned count = kernel() ? many : 20'000;
    const auto runs = bursts(ping("10.99.0.2", port, count, kernel() ? 2'000 : 100, 500).answered);
    unsigned all = 0;
    for (auto& [length, some] : runs)
      all += some;
    ASSERT_GT(all, count / 100);
    // Cells of at least five expected bursts; the last one holds all that are longer.
    double square = 0, rest = all, rest_expected = all;
    int cells = 0;
    const auto chances = model.lengths(100);
    for (unsigned length = 1; length <= 100; ++length) {
      const double expected = all * chances[length - 1];
      if (rest_expected - expected < 5) break;
      const auto found = runs.find(length);
      const double got = found == runs.end() ? 0 : found->second;
      square += (got - expected) * (got - expected) / expected, ++cells;
      rest -= got, rest_expected -= expected;
    }
    square += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
    // Wilson and Hilferty: the value that is exceeded once in a thousand times.
    ASSERT_GE(cells, 4);
    const double most = cells * std::pow(1 - 2.0 / (9 * cells) + 3.09 * std::sqrt(2.0 / (9 * cells)), 3);
    EXPECT_LT(square, most) << all << " bursts, " << cells << " degrees of freedom";
  }
}

}  // namespace
}  // namespace squall
