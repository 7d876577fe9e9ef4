#include "reports/record/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace squall {
namespace {

// The continued fraction of the incomplete beta function by the modified Lentz method (Numerical
// Recipes, 6.4).
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300, enough = 1e-15;
  auto away_from_zero = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m <= 100'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away_from_zero(1 + even * d);
    c = away_from_zero(1 + even / c);
    h *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away_from_zero(1 + odd * d);
    c = away_from_zero(1 + odd / c);
    h *= d * c;
    if (std::abs(d * c - 1) < enough) break;
  }
  return h;
}

// The p for which f(p), which falls with p, is `target`.
template <class F>
double solve_falling(F f, double target) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (f(middle) > target ? low : high) = middle;
  }
  return (low + high) / 2;
}

// lgamma() writes the global signgam; this one is safe on any thread.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front =
      std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double binomial_cdf(std::int64_t k, std::int64_t n, double p) {
  if (k < 0) return 0;
  if (k >= n) return 1;
  return incomplete_beta(static_cast<double>(n - k), static_cast<double>(k + 1), 1 - p);
}

Interval proportion_interval(std::int64_t hits, std::int64_t n, double confidence) {
  if (n <= 0) return {};
  const double tail = (1 - confidence) / 2;
  Interval out;
  if (hits > 0) out.low = solve_falling([&](double p) { return binomial_cdf(hits - 1, n, p); }, 1 - tail);
  if (hits < n) out.high = solve_falling([&](double p) { return binomial_cdf(hits, n, p); }, tail);
  return out;
}

double quantile(const std::vector<double>& sorted, double q) {
  const auto n = static_cast<double>(sorted.size());
  const auto rank = static_cast<std::size_t>(std::clamp(std::ceil(q * n - 1e-9), 1.0, n));
  return sorted[rank - 1];
}

// David and Nagaraja, Order Statistics, 7.1: P(x_(l) <= quantile < x_(u)) is P(l <= X < u) of X ~ Binomial(n,
// q).
QuantileInterval quantile_interval(const std::vector<double>& sorted, double q, double confidence) {
  const auto n = static_cast<std::int64_t>(sorted.size());
  const double tail = (1 - confidence) / 2;
  // The smallest k with P(X <= k) > bound; `n` where there is none.
  auto first_above = [&](double bound) {
    std::int64_t low = 0, high = n;
    while (low < high) {
      const auto middle = (low + high) / 2;
      binomial_cdf(middle, n, q) > bound ? high = middle : low = middle + 1;
    }
    return low;
  };
  QuantileInterval out;
  const auto lower = first_above(tail);          // P(X < lower) <= tail
  const auto upper = first_above(1 - tail) + 1;  // P(X >= upper) < tail
  if (lower >= 1) out.low = sorted[static_cast<std::size_t>(lower - 1)];
  if (upper <= n) out.high = sorted[static_cast<std::size_t>(upper - 1)];
  return out;
}

}  // namespace squall
