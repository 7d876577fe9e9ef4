// Where the control files of a controller are, and whose groups are there.
#pragma once

#include <string>
#include <vector>

#include "injector/host/cgroups/cgroup.hpp"
#include "injector/system/targets.hpp"

namespace squall::cgroup {

// Where a controller's files are: of v2 where it has the controller, else of v1 by this name. An error for a
// person where there is neither.
tl::expected<Hierarchy, std::string> hierarchy_with(const std::string& controller);

// The groups of these processes there, each once. Throws std::runtime_error with a text for a person where
// one is in none, or in the root, which has no limits.
std::vector<Group> groups_of(const Hierarchy&, const std::vector<Process>&);

}  // namespace squall::cgroup
