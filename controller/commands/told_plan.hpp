// What an injector would do about one fault, as it answers to "plan" (injector/session/protocol.hpp), for
// people.
#pragma once

#include <optional>

#include <boost/json/object.hpp>

#include "scenarios/model/samples.hpp"

namespace squall {

// Mechanism, targets, limits, and each change beside what undoes it; to standard output, below a line that
// says what it is about.
void print_told_plan(const boost::json::object& told, const std::optional<SampleFile>&);

}  // namespace squall
