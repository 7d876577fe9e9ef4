// What faults on packets have in common: the aim, the choice between the kernel's mechanism and our own, and
// the doctor.
#pragma once

#include <memory>
#include <vector>

#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/impairments/impairment.hpp"

namespace squall::faults {

// On errors reports them and returns nullptr. `with` is where the parameters stand.
std::unique_ptr<Fault> packet_fault(const Impairment&, const NetworkPackets&, const Value& with,
                                    const TargetSpec&, const Setting&, Diagnostics&);
std::vector<Capability> packet_fault_doctor();
// What a network fault can be aimed with.
const std::vector<std::string>& packet_aims();

}  // namespace squall::faults
