// disk.throttle: limits how fast cgroups read from and write to a disk.
#pragma once

#include "injector/faults/fault.hpp"

namespace squall::faults {

extern const FaultType disk_throttle;

}  // namespace squall::faults
