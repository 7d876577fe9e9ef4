// A fault on TCP connections, by a proxy that the kernel leads them to without anybody's reconfiguration.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "injector/faults/aim/tcp_place.hpp"
#include "injector/faults/fault.hpp"
#include "injector/proxy/proxy_thread.hpp"

namespace squall::faults {

struct TcpEffect {
  bool http = false;
  // What is to happen to connections, or requests, from now on; `level` is below 1 on a ramp.
  std::function<void(proxy::ProxyThread&, double level)> put;
  // Prescribed beside measured, from what the proxy did at the full dose.
  std::function<Dose(const proxy::ProxyStatistics&)> dose;
  std::vector<std::string> limits;
};

std::unique_ptr<Fault> tcp_fault(TcpEffect, const ConnectionPlace&, const TargetSpec&, const Setting&,
                                 Diagnostics&);
std::vector<Capability> tcp_fault_doctor();

}  // namespace squall::faults
