#pragma once

#include <memory>

#include "injector/faults/network_delay_aim.hpp"

namespace squall::faults {

// The delay by the kernel's netem, on a device of our own to which filters behind clsact lead the packets.
std::unique_ptr<Fault> netem_delay(const NetworkDelay&, NetworkAim, const Setting&, Diagnostics&);
// Why netem cannot do this; "" where it can.
std::string netem_cannot(const NetworkAim&);
// The devices on which clsact would have to be put: the kernel restarts their queues then, and again when it is removed
// (qdisc_graft in net/sched/sch_api.c), and drops what waits there.
std::vector<std::string> needs_clsact(const NetworkAim&);
Capability netem_delay_capability();

}  // namespace squall::faults
