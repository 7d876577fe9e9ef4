// What the alert sources could have seen: whether any of them was able to tell, and where they do not say the
// same.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "reports/judge/alert_story.hpp"

namespace squall {

// Why nobody could have seen it in [from, to], or "": one source of these kinds that answered throughout, did
// not begin anew meanwhile, and could have told of an alert is enough.
std::string blind(const RunRecord&, const std::set<std::string>& kinds, std::int64_t from_t,
                  std::int64_t to_t);
// The same of an alert that fires. A webhook only shows what is sent; it stands in for the others where there
// are none.
std::string blind_to_firing(const RunRecord&, std::int64_t from_t, std::int64_t to_t);
// Sources that could not have told of any alert to the end, and why. A sentence each.
std::vector<std::string> blind_sources(const RunRecord&);
bool has_source(const RunRecord&, const std::string& kind);
// Why the end of an alert may have been lost: every source that had it firing was restarted since; or "".
std::string forgotten(const RunRecord&, const AlertStory&, std::int64_t since_t);
// Alerts that one source had firing and another, which answered all the while, never had. A sentence each.
std::vector<std::string> disagreements(const RunRecord&, const std::vector<AlertStory>&);

}  // namespace squall
