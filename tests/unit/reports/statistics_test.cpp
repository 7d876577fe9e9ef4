#include "reports/record/statistics.hpp"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(IncompleteBeta, agrees_with_its_closed_forms) {
  for (double x : {0.0, 0.01, 0.3, 0.5, 0.99, 1.0}) {
    EXPECT_NEAR(incomplete_beta(1, 1, x), x, 1e-13);
    EXPECT_NEAR(incomplete_beta(3, 1, x), x * x * x, 1e-13);
    EXPECT_NEAR(incomplete_beta(1, 4, x), 1 - std::pow(1 - x, 4), 1e-13);
    EXPECT_NEAR(incomplete_beta(2.5, 7, x) + incomplete_beta(7, 2.5, 1 - x), 1, 1e-12);
  }
}

TEST(Binomial, agrees_with_the_sum_of_its_terms) {
  auto term = [](int k, int n, double p) {
    return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(p) +
                    (n - k) * std::log1p(-p));
  };
  for (double p : {0.01, 0.37, 0.999}) {
    double sum = 0;
    for (int k = 0; k <= 50; ++k) {
      sum += term(k, 50, p);
      EXPECT_NEAR(binomial_cdf(k, 50, p), sum, 1e-11) << k << " of 50 at " << p;
    }
  }
  EXPECT_EQ(binomial_cdf(-1, 5, 0.5), 0);
  EXPECT_EQ(binomial_cdf(5, 5, 0.5), 1);
}

// R: binom.test(x, n)$conf.int
TEST(ProportionInterval, agrees_with_published_values) {
  auto near = [](std::int64_t hits, std::int64_t n, double low, double high) {
    const auto interval = proportion_interval(hits, n);
    EXPECT_NEAR(interval.low, low, 5e-5) << hits << " of " << n;
    EXPECT_NEAR(interval.high, high, 5e-5) << hits << " of " << n;
  };
  near(0, 10, 0, 0.3085);  // 1 - 0.025^(1/10)
  near(10, 10, 0.6915, 1);
  near(5, 10, 0.1871, 0.8129);
  near(1, 10, 0.0025, 0.4450);
  near(81, 263, 0.2527, 0.3676);
}

TEST(ProportionInterval, has_closed_forms_at_its_ends) {
  for (std::int64_t n : {1, 7, 600, 100'000}) {
    EXPECT_NEAR(proportion_interval(n, n).low, std::pow(0.025, 1.0 / static_cast<double>(n)), 1e-9);
    EXPECT_NEAR(proportion_interval(0, n).high, 1 - std::pow(0.025, 1.0 / static_cast<double>(n)), 1e-9);
  }
  EXPECT_EQ(proportion_interval(0, 0).low, 0);
  EXPECT_EQ(proportion_interval(0, 0).high, 1);
}

std::vector<double> up_to(int n) {
  std::vector<double> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 1.0);
  return out;
}

TEST(Quantile, is_the_smallest_value_that_so_many_do_not_exceed) {
  const auto hundred = up_to(100);
  EXPECT_EQ(quantile(hundred, 0.5), 50);
  EXPECT_EQ(quantile(hundred, 0.99), 99);
  EXPECT_EQ(quantile(hundred, 1), 100);
  EXPECT_EQ(quantile({7}, 0.99), 7);
}

// Conover, Practical Nonparametric Statistics: the 95 % interval of a median of 100 goes from the 40th to the
// 61st value.
TEST(QuantileInterval, of_a_median_agrees_with_published_ranks) {
  const auto interval = quantile_interval(up_to(100), 0.5);
  EXPECT_EQ(interval.low, 40);
  EXPECT_EQ(interval.high, 61);
}

TEST(QuantileInterval, covers_at_least_what_it_promises) {
  for (int n : {20, 100, 600, 5000})
    for (double q : {0.5, 0.9, 0.99}) {
      const auto interval = quantile_interval(up_to(n), q);
      const auto low = interval.low ? static_cast<std::int64_t>(*interval.low) : 0;
      const auto high = interval.high ? static_cast<std::int64_t>(*interval.high) : n + 1;
      EXPECT_LE(binomial_cdf(low - 1, n, q), 0.025) << n << " at " << q;
      EXPECT_GE(binomial_cdf(high - 1, n, q), 0.975) << n << " at " << q;
    }
}

TEST(QuantileInterval, has_no_upper_end_where_the_sample_cannot_bound_it) {
  EXPECT_FALSE(quantile_interval(up_to(100), 0.99).high.has_value());
  EXPECT_TRUE(quantile_interval(up_to(600), 0.99).high.has_value());
}

}  // namespace
}  // namespace squall
