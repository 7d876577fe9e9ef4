// The requests of a drill, as the injector reads them.
#pragma once

#include <boost/json.hpp>

#include "controller/plan/planner.hpp"

namespace squall {

boost::json::object target_json(const TargetSpec&);
// "plan" or "apply" of one fault on its host.
boost::json::object fault_request(std::string_view verb, const PlannedFault&);
// What the fault is aimed at: who cannot hear whom, and what the host told.
boost::json::array told_targets(const PlannedFault&, const boost::json::object& told);
// What it must have for itself.
std::vector<std::string> claims_of(const boost::json::object& told);

}  // namespace squall
