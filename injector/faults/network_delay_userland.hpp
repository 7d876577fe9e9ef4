#pragma once

#include <memory>

#include "injector/faults/network_delay_aim.hpp"

namespace squall::faults {

// The delay by our own packet queue, for hosts whose kernel lacks netem.
std::unique_ptr<Fault> userland_delay(const NetworkDelay&, NetworkAim, const Setting&, Diagnostics&);
Capability userland_delay_capability();

}  // namespace squall::faults
