// What a disk fault is aimed at: which cgroups, on which devices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>
#include <tl/expected.hpp>

#include "injector/faults/fault.hpp"
#include "injector/host/cgroups/cgroup.hpp"
#include "injector/host/storage/block.hpp"
#include "scenarios/model/selector.hpp"

namespace squall::faults {

// A process that led to a cgroup.
struct DiskProcess {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  std::string name;  // "redis-server[12]"
};

// One cgroup on one disk.
struct DiskUser {
  block::Device disk;
  cgroup::Group group;
  std::vector<DiskProcess> processes;  // those that led here
};

struct DiskAim {
  cgroup::Hierarchy hierarchy;
  std::vector<DiskUser> users;
  std::vector<block::Device>
      whole;  // where devices are meant and not processes: what whoever uses them does counts
  std::vector<DiskProcess> unreached;  // in cgroups that cannot be limited
  std::vector<std::string> limits;     // what could not be reached, for a person
};

// By path or device: every cgroup with a process that uses the file system now. By processes: their cgroups,
// on the given device or on those of the files they have open; where a unit, container or cgroup is meant, on
// v2 that cgroup as a whole with all below it, by now and later. Errors are texts for a person.
tl::expected<DiskAim, std::string> find_disk_users(const TargetSpec&, const Setting&);

}  // namespace squall::faults
