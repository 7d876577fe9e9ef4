// What a disk fault is aimed at: which cgroups, on which devices.
#pragma once

#include <string>

#include <vector>

#include <tl/expected.hpp>

#include "injector/fault.hpp"
#include "injector/host/block.hpp"
#include "injector/host/cgroup.hpp"
#include "scenarios/selector.hpp"

namespace squall::faults {

// One cgroup on one disk.
struct DiskUser {
  block::Device disk;
  cgroup::Group group;
  std::vector<std::string> processes;  // those that led here: "redis-server[12]"
};

struct DiskAim {
  cgroup::Hierarchy hierarchy;
  std::vector<DiskUser> users;
  std::vector<std::string> limits;  // what could not be reached, for a person
};

// By path or device: every cgroup with a process that uses the file system now. By processes: their cgroups, on the
// given device or on those of the files they have open. Errors are texts for a person.
tl::expected<DiskAim, std::string> find_disk_users(const TargetSpec&, const Setting&);

}  // namespace squall::faults
