// What differs between two runs, and whether the second is better or worse: by confidence intervals, not by
// luck.
#pragma once

#include <string>
#include <vector>

#include "reports/judge/verdict.hpp"

namespace squall {

// A sentence each: "service web, during the faults: availability 99.9% → 92%: worse". Figures whose intervals
// overlap are told only where something was measured on both sides: "no difference that could not be chance".
std::vector<std::string> differences_between(const RunRecord& first, const Verdict&, const RunRecord& second,
                                             const Verdict&);

}  // namespace squall
