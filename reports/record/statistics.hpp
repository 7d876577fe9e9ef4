// The few statistics that verdicts rest on; exact, no approximations by the normal distribution.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace squall {

// The regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 <= x <= 1, to about 1e-12.
double incomplete_beta(double a, double b, double x);

// P(X <= k) of X ~ Binomial(n, p).
double binomial_cdf(std::int64_t k, std::int64_t n, double p);

struct Interval {
  double low = 0, high = 1;
};

// The Clopper-Pearson interval of a proportion of which `hits` of `n` were seen: never narrower than its
// confidence says.
Interval proportion_interval(std::int64_t hits, std::int64_t n, double confidence = 0.95);

// The smallest value that at least a share q of the values do not exceed (nearest rank). `sorted` is not
// empty.
double quantile(const std::vector<double>& sorted, double q);

// The interval of a quantile between two order statistics; an end is missing where the sample is too small to
// bound it.
struct QuantileInterval {
  std::optional<double> low, high;
};
QuantileInterval quantile_interval(const std::vector<double>& sorted, double q, double confidence = 0.95);

}  // namespace squall
