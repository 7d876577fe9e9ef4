#pragma once

#include <memory>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/host/impairments/impairment.hpp"

namespace squall::faults {

// By the kernel's netem, on a device of our own to which filters behind clsact lead the packets.
std::unique_ptr<Fault> packets_by_netem(const Impairment&, NetworkAim, const Setting&, Diagnostics&);
// Why netem cannot do this; "" where it can.
std::string netem_cannot(const Impairment&, const NetworkAim&);
// The devices on which clsact would have to be put: the kernel restarts their queues then, and again when it
// is removed (qdisc_graft in net/sched/sch_api.c), and drops what waits there.
std::vector<std::string> needs_clsact(const NetworkAim&);
// Whether somebody else's filters come before ours on any of them, and may keep packets from it.
bool others_classify(const NetworkAim&);
Capability netem_capability();

}  // namespace squall::faults
