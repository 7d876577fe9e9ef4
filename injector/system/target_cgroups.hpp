// Which cgroups a target means as a whole.
#pragma once

#include <string>

#include "scenarios/model/selector.hpp"

namespace squall {

// Where a target means cgroups as a whole (unit, container, cgroup, and nothing that narrows it down): the
// one that this path is or lies below, as a path of the same hierarchy. "" where it does not, or means the
// root.
std::string cgroup_meant(const TargetSpec&, const std::string& path);

}  // namespace squall
