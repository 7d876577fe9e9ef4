// The dose of what hits a share of the cases that match.
#pragma once

#include <cstdint>
#include <string_view>

#include "injector/faults/fault.hpp"

namespace squall::faults {

// As doses show figures: three digits behind the point.
double rounded(double);

struct ShareSeen {
  std::uint64_t matched = 0, rolled = 0,
                done = 0;       // that match, that the share hits, that something was done to
  std::uint64_t under_way = 0;  // that may have been rolled and not yet done
  std::uint64_t unchanged = 0;  // that the share hits, and that had nothing it could be done to
};

// Fills in the share, verified, and the reason where it is not; `cases` and `word` name them: "requests",
// "aborted".
void judge_share(Dose&, Percent share, const ShareSeen&, std::string_view cases, std::string_view word);
// The same for delays that were measured besides (ascending quantile in milliseconds), when some were done.
void judge_delay(Dose&, Duration delay, Duration jitter, std::uint64_t count, double median_ms);

}  // namespace squall::faults
