// Which faults this host can take, by which mechanism, and what is missing for the others.
#pragma once

#include <string>

#include <boost/json.hpp>

namespace squall {

// [{fault, possible, mechanism, options: [{mechanism, possible, chosen, missing, note, measures}]}]
boost::json::array doctor_json();
std::string doctor_text();

}  // namespace squall
