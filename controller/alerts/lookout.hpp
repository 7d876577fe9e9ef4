// What can be known before a drill: expected alerts that no rule defines, and rules that cannot fire in time.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "controller/alerts/routing.hpp"
#include "controller/alerts/watch.hpp"
#include "scenarios/model/scenario.hpp"

namespace squall {

// Alertmanager, as far as it is known beforehand.
struct ManagerOutlook {
  const Routing* routing = nullptr;
  std::int64_t wall_ns = 0;           // when it is
  std::set<std::string> open_groups;  // of alerts that it has now
};

// One sentence a finding; pure. Says nothing about rules where no source could tell any, nor of routes where
// there is no `routing`.
std::vector<std::string> findings(const Scenario&, const std::vector<AlertRule>&, const ManagerOutlook& = {});
// The group of an event of the state routed, as open_groups has it; "" of any other.
std::string group_of(const AlertEvent&);

// By what each `reaches` of the scenario can be witnessed, and how much that says. One sentence each; pure.
std::vector<std::string> witnesses(const Scenario&);

// Asks the alert sources once, for at most a few seconds, and tells the findings: what `plan` says of alerts.
// Nothing is changed, and no webhook is listened on.
std::vector<std::string> ask_for_findings(const Scenario&);

}  // namespace squall
