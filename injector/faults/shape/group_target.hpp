// The cgroups of a target's processes, for faults on a limit of theirs.
#pragma once

#include "injector/faults/shape/target.hpp"
#include "injector/host/cgroups/value.hpp"

namespace squall::faults {

struct GroupTarget {
  // In the hierarchy that has the controller; claims the `resource` ("memory") of each. Refuses where there
  // is none, where a process is in the root cgroup, or where the controller cannot be switched on for its
  // group.
  GroupTarget(Target&, const std::string& controller, const std::string& resource);

  bool v2() const { return hierarchy.version == cgroup::Version::v2; }
  // Switches the controller on above them, as far as it is off (v2).
  void enable(Transaction&) const;
  // The sum over the groups of a number in a control file: behind `key` on a line of its own, or the first in
  // the file where there is no key. 0 where it is not there.
  double sum(const std::string& file, std::string_view key = "") const;

  std::string controller;
  std::vector<Process> processes;
  cgroup::Hierarchy hierarchy;
  std::vector<cgroup::Group> groups;
};

// What is missing for a fault on a controller of cgroups; "" where nothing is.
std::string lacks_controller(const std::string& controller);

}  // namespace squall::faults
