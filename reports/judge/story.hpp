// What happened, in sentences, for someone who was not there.
#pragma once

#include <string>
#include <vector>

#include "reports/judge/verdict.hpp"
#include "reports/record/record.hpp"

namespace squall {

std::vector<std::string> story(const RunRecord&, const Verdict&);

// Whether its users were worse off during the fault than before it: fewer answers, a much slower p99, or not
// back at once.
bool was_affected(const ServiceVerdict&);

// "disk.latency on db1" and the like, with what it was aimed at where that is short.
std::string short_name(const FaultRecord&);
// How long it was in force; "" for an act, or where it was not undone.
std::string in_force(const FaultRecord&);

}  // namespace squall
