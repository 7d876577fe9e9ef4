// What a person should know of the clocks that a run's times rest on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reports/judge/expectation.hpp"
#include "reports/record/record.hpp"

namespace squall {

// Clocks that are off by more than half a second, that stepped, or that could not be compared; a sentence
// each.
std::vector<std::string> clock_findings(const RunRecord&);

// How wrong the faults' times may be, either way, by their hosts' clocks.
std::int64_t fault_clock_error_ns(const RunRecord&);

// Judges what hangs on the faults' times as they are told, and again as early and as late as they may have
// been: what does not come out alike cannot be decided. `at` judges with both ends of the fault shifted by so
// many nanoseconds.
Finding beyond_clock_error(const RunRecord&,
                           const std::function<Finding(std::int64_t begin_ns, std::int64_t end_ns)>& at);

}  // namespace squall
