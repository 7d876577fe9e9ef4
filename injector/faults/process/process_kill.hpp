// process.kill: ends processes by a signal, once or again and again.
#pragma once

#include "injector/faults/fault.hpp"

namespace squall::faults {

extern const FaultType process_kill;

}  // namespace squall::faults
