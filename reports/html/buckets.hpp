// Samples thinned to what a chart can show: one figure for each slice of time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "reports/record/figures.hpp"

namespace squall {

struct Bucket {
  std::int64_t from_t = 0;
  std::int64_t probes = 0, failed = 0;
  std::optional<double> p50_ms, slowest_ms;  // over answers and timeouts; none where there was neither
  double failed_share() const {
    return probes ? static_cast<double>(failed) / static_cast<double>(probes) : 0;
  }
};

struct Buckets {
  std::int64_t from_t = 0, width_ns = 1;
  std::vector<Bucket> buckets;
};

// A round width such that `span_ns` takes at most `most` slices, and at least four samples fall into each on
// average.
std::int64_t bucket_width(std::int64_t span_ns, std::int64_t samples, std::int64_t most);
Buckets thin_out(const std::vector<ServiceSample>&, std::int64_t from_t, std::int64_t to_t,
                 std::int64_t width_ns);

}  // namespace squall
