// Ports that nobody else gets, because we have a socket bound to each (bind(2)); given back when they are closed, which the
// end of the process does too.
#pragma once

#include <cstdint>
#include <vector>

#include "injector/host/process.hpp"

namespace squall {

enum class PortProtocol { tcp, udp };

class HeldPorts {
 public:
  // Of every address of the thread's network namespace, IPv4 and IPv6. Returns 0 or the error (EADDRINUSE: somebody has it).
  int hold(PortProtocol, std::uint16_t port);
  std::size_t count() const { return sockets_.size(); }
  void give_back() { sockets_.clear(); }

 private:
  std::vector<Fd> sockets_;
};

struct PortRange {
  std::uint16_t first = 0, last = 0;
};
// Where connect(2) and others find a port of their own (ip(7), ip_local_port_range), in the thread's network namespace.
PortRange ephemeral_ports();
// Whether the kernel still finds one for a socket that asks for any.
bool finds_a_port(PortProtocol);

}  // namespace squall
