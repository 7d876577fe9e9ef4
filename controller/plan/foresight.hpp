// What one can know of a drill before it runs, without touching a host: what could not be told afterwards.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "scenarios/model/scenario.hpp"

namespace squall {

// A sentence each: too few probes for a bound, a notification that nobody can witness.
std::vector<std::string> foresee(const Scenario&);

}  // namespace squall
