// As much of a JSON Schema validator (draft-07) as our own schemas use; an unknown keyword is an error
// itself.
#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

#include "scenarios/text/document.hpp"

namespace squall::test {

// Where and why `value` does not fit, one text each: "/method/0: missing for".
std::vector<std::string> schema_errors(const boost::json::object& schema, const boost::json::value&);

// A document as editors see it: plain scalars are numbers and booleans where they look so.
boost::json::value typed_json(const Value&);

}  // namespace squall::test
