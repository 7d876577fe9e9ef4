// Which faults this host can take, by which mechanism, and what is missing for the others.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "injector/faults/fault.hpp"
#include "injector/session/policy.hpp"

namespace squall {

// What the doctor found about one fault: its mechanisms, best one first.
struct Examined {
  std::string_view fault;
  std::vector<Capability> options;
};
// Every fault of the catalogue, on this host.
std::vector<Examined> examine_host();

// [{fault, possible, mechanism, options: [{mechanism, possible, chosen, missing, note, measures}]}]
boost::json::array doctor_json(const std::vector<Examined>&);
// For people, 100 columns wide: faults of which the same is to be said stand together, and what holds for
// several such groups stands once, at the end.
std::string doctor_text(const std::vector<Examined>&);

// Which policy holds here, and what it names that protects nothing: {source, findings: [text…]}, and for
// people.
boost::json::object policy_json(const Policy&);
std::string policy_text(const Policy&);

}  // namespace squall
