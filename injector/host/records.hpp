// Reads what an inverse recorded; a record that lacks a member reads as empty.
#pragma once

#include <string>

#include <boost/json.hpp>

#include "injector/inverse.hpp"

namespace squall::undo {

std::string text_of(const boost::json::object&, const char* key);
std::uint64_t number_of(const boost::json::object&, const char* key);

// Carries out in the network namespace that "netns" and "pid" of the record name. A namespace that nobody is in any
// more took all of its devices and rules with it.
Undone in_namespace_of(const boost::json::object& with, Undone (*act)(const boost::json::object&));

}  // namespace squall::undo
