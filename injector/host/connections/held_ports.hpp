// Ports that nobody else gets, because we have a socket bound to each (bind(2)); given back when they are
// closed, which the end of the process does too.
#pragma once

#include <cstdint>
#include <vector>

#include "injector/system/process.hpp"

namespace squall {

enum class PortProtocol { tcp, udp };

class HeldPorts {
 public:
  // Of every address of the thread's network namespace, IPv4 and IPv6. Returns 0 or the error (EADDRINUSE:
  // somebody has it).
  int hold(PortProtocol, std::uint16_t port);
  // TCP, where a connection has the port already: bound beside it, to a loopback address. From then on
  // connect(2) does not share that port with other connections either, as it does where all who have it came
  // by connect(2) (__inet_hash_connect looks at tb->fastreuse, which a bind(2) makes 0 or more). 0 or the
  // error: EADDRINUSE where who has it is bound to it for all addresses, and so it is nobody else's anyway.
  int hold_beside(std::uint16_t port);
  std::size_t count() const { return sockets_.size(); }
  void give_back() { sockets_.clear(); }

 private:
  std::vector<Fd> sockets_;
};

struct PortRange {
  std::uint16_t first = 0, last = 0;
};
// Where connect(2) and others find a port of their own (ip(7), ip_local_port_range), in the thread's network
// namespace.
PortRange ephemeral_ports();
// Whether the kernel still finds one for a socket that asks for any.
bool finds_a_port(PortProtocol);

// What an ordinary socket sees that connects to somebody, as clients do: to several destinations on loopback,
// over IPv4 and IPv6.
struct ConnectAttempts {
  std::size_t found = 0, none = 0;  // a port; none (EADDRNOTAVAIL, EAGAIN of UDP)
  int other_error = 0;              // why neither could be seen: ENETUNREACH where lo is down
};
ConnectAttempts try_to_connect(PortProtocol);
// Connections that were begun here with a port found, so far (ActiveOpens of RFC 1213), in the thread's
// network namespace.
std::uint64_t connections_begun();

}  // namespace squall
