// Reads what an inverse recorded; a record that lacks a member reads as empty.
#pragma once

#include <span>
#include <string>

#include <boost/json.hpp>

#include "injector/change/inverse.hpp"

namespace squall::undo {

std::string text_of(const boost::json::object&, const char* key);
std::uint64_t number_of(const boost::json::object&, const char* key);

// Carries out in the network namespace that "netns" and "pid" of the record name. A namespace that nobody is
// in any more took all of its devices and rules with it.
Undone in_namespace_of(const boost::json::object& with, Undone (*act)(const boost::json::object&));

// Adds to those that name a network namespace what no other one ever gets.
void tell_namespaces_apart(std::span<Inverse* const>);

}  // namespace squall::undo
