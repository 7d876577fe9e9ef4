// A fault on TCP connections, by a proxy that the kernel leads them to without anybody's reconfiguration.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "injector/fault.hpp"
#include "injector/faults/tcp_place.hpp"
#include "injector/proxy/proxy.hpp"

namespace squall::faults {

struct TcpEffect {
  std::vector<proxy::Toxic> toxics;  // of the full dose
  // Of a part of it, for ramps; where none, the share of connections is ramped.
  std::function<std::vector<proxy::Toxic>(double level)> at_level;
  // Prescribed beside measured, from what the proxy did at the full dose.
  std::function<Dose(const proxy::ProxyStatistics&)> dose;
  std::string what;  // "to delay"
};

std::unique_ptr<Fault> tcp_fault(TcpEffect, const TcpPlace&, const TargetSpec&, const Setting&, Diagnostics&);
std::vector<Capability> tcp_fault_doctor();

}  // namespace squall::faults
