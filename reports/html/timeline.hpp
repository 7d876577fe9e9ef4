// The run on one time axis: windows, faults, latency and failures of each service, states of each alert.
// Inline SVG, with the same as a table for those who cannot see it, and as data for the script that reads
// values out under the pointer.
#pragma once

#include <string>

#include "reports/judge/verdict.hpp"
#include "reports/record/record.hpp"

namespace squall {

struct Timeline {
  std::string svg;
  std::string table;  // HTML
  std::string json;   // what the script needs; not yet escaped for a <script>
};

Timeline draw_timeline(const RunRecord&, const Verdict&);

}  // namespace squall
