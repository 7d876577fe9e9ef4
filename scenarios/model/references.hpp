// Names in a file that must refer to something: hosts, services, squads, labels.
#pragma once

#include "scenarios/model/scenario.hpp"

namespace squall {

// The entries of a list; a single value stands for a list of one, nothing for none.
std::vector<const Value*> entries(const Value*);

// What the services in `text` name must exist in `landscape`.
void check_landscape_names(const Value& text, const Landscape&, Diagnostics&);

// What the drill in `text` names must exist in the scenario's landscape.
void check_scenario_names(const Value& text, const Scenario&, Diagnostics&);

}  // namespace squall
