// The parts of the report page, each a piece of HTML.
#pragma once

#include <string>

#include "reports/judge/verdict.hpp"
#include "reports/record/record.hpp"

namespace squall::html {

std::string header(const RunRecord&, const Verdict&);
std::string glance(const RunRecord&, const Verdict&);
std::string timeline(const RunRecord&, const Verdict&);
std::string expectations(const Verdict&);
std::string faults(const RunRecord&);
std::string services(const RunRecord&, const Verdict&);
std::string alerts(const Verdict&);
std::string findings(const Verdict&);
std::string restored(const RunRecord&, const Verdict&);
std::string background(const RunRecord&);  // the plan, the scenario, the environment

}  // namespace squall::html
