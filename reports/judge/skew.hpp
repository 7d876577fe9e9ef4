// How far apart one step began on its hosts, by the one time line that their clocks are brought to.
#pragma once

#include <string>
#include <vector>

#include "reports/record/record.hpp"

namespace squall {

// Steps that began on their hosts noticeably one after another: a tenth of their time, or a tenth of a
// second. A sentence each.
std::vector<std::string> skews(const RunRecord&);
// Steps that were over on one host before they began on another, so that they never were in force as a whole.
std::vector<std::string> never_whole(const RunRecord&);

}  // namespace squall
