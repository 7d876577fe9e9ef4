// What can be known before a drill: expected alerts that no rule defines, and rules that cannot fire in time.
#pragma once

#include <string>
#include <vector>

#include "controller/alerts/watch.hpp"
#include "scenarios/scenario.hpp"

namespace squall {

// One sentence a finding; pure. Says nothing about rules where no source could tell any.
std::vector<std::string> findings(const Scenario&, const std::vector<AlertRule>&);

}  // namespace squall
