#include "injector/host/held_ports.hpp"

#include <cerrno>
#include <sstream>

#include <netinet/in.h>
#include <sys/socket.h>

#include "injector/host/read_file.hpp"

namespace squall {
namespace {

// Bound to the port, or an error.
int bound(PortProtocol protocol, std::uint16_t port, Fd& out) {
  const int type = (protocol == PortProtocol::tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC;
  out = Fd{::socket(AF_INET6, type, 0)};
  if (out) {
    const int no = 0;
    ::setsockopt(out.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(port);
    return ::bind(out.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ? 0 : errno;
  }
  if (errno != EAFNOSUPPORT) return errno;
  out = Fd{::socket(AF_INET, type, 0)};
  if (!out) return errno;
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  return ::bind(out.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ? 0 : errno;
}

}  // namespace

int HeldPorts::hold(PortProtocol protocol, std::uint16_t port) {
  Fd socket;
  const int error = bound(protocol, port, socket);
  if (!error) sockets_.push_back(std::move(socket));
  return error;
}

PortRange ephemeral_ports() {
  std::istringstream text{read_file("/proc/sys/net/ipv4/ip_local_port_range").value_or("")};
  unsigned first = 32768, last = 60999;
  text >> first >> last;
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
}

bool finds_a_port(PortProtocol protocol) {
  Fd socket;
  return bound(protocol, 0, socket) == 0;
}

}  // namespace squall
