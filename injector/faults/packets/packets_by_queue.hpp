#pragma once

#include <memory>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/host/impairments/impairment.hpp"

namespace squall::faults {

// By our own packet queue, on any kernel.
std::unique_ptr<Fault> packets_by_queue(const Impairment&, NetworkAim, const Setting&, Diagnostics&);
Capability queue_capability();

}  // namespace squall::faults
