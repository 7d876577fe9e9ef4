// What a scenario may say, and will hardly have meant.
#pragma once

#include <string>
#include <vector>

#include "scenarios/model/scenario.hpp"

namespace squall {

// A sentence each; the file is right all the same.
std::vector<std::string> warnings(const Scenario&);

}  // namespace squall
