// What the alert sources know, asked once and outside of a drill.
#pragma once

#include <string>
#include <vector>

#include "controller/alerts/watch.hpp"

namespace squall {

struct KnownRules {
  std::vector<AlertRule> rules;
  std::vector<std::string> problems;  // sources that could not be asked, and why
};

// Asks all sources that know rules; comes back within 10 s.
KnownRules ask_for_rules(const std::vector<AlertSourceSpec>&);

}  // namespace squall
