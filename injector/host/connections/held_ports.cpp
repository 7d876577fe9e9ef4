#include "injector/host/connections/held_ports.hpp"

#include <cerrno>
#include <cstdlib>
#include <sstream>

#include <netinet/in.h>
#include <sys/socket.h>

#include "injector/system/read_file.hpp"

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

// 127.83.81.76: one that no server is likely to be reached by.
constexpr std::uint32_t nobodys_address = 0x7f53514c;

// What connect(2) says to a destination; the port is one where nobody is likely to listen.
int connect_error(PortProtocol protocol, const sockaddr* to, socklen_t length) {
  const int type = (protocol == PortProtocol::tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const Fd socket{::socket(to->sa_family, type, 0)};
  if (!socket) return errno;
  const linger at_once{1, 0};  // no TIME_WAIT of ours, should somebody accept
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  return ::connect(socket.get(), to, length) == 0 ? 0 : errno;
}

// Without the address ::1 a connect(2) to it says EADDRNOTAVAIL too.
bool has_ipv6_loopback() {
  const Fd socket{::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_addr = in6addr_loopback;
  const int error =
      socket && ::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ? errno : 0;
  return socket && error != EADDRNOTAVAIL;
}

void count(int error, ConnectAttempts& out) {
  if (error == EADDRNOTAVAIL || error == EAGAIN)
    ++out.none;
  else if (error == 0 || error == EINPROGRESS || error == ECONNREFUSED)
    ++out.found;
  else
    out.other_error = error;
}

}  // namespace

int HeldPorts::hold(PortProtocol protocol, std::uint16_t port) {
  Fd socket;
  const int error = bound(protocol, port, socket);
  if (!error) sockets_.push_back(std::move(socket));
  return error;
}

int HeldPorts::hold_beside(std::uint16_t port) {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!socket) return errno;
  const int yes = 1;  // the address need not be there: lo may be down
  ::setsockopt(socket.get(), IPPROTO_IP, IP_FREEBIND, &yes, sizeof yes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(nobodys_address);
  at.sin_port = htons(port);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return errno;
  sockets_.push_back(std::move(socket));
  return 0;
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

ConnectAttempts try_to_connect(PortProtocol protocol) {
  ConnectAttempts out;
  for (std::uint32_t host : {INADDR_LOOPBACK, nobodys_address}) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(host);
    to.sin_port = htons(9);
    count(connect_error(protocol, reinterpret_cast<sockaddr*>(&to), sizeof to), out);
  }
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_addr = in6addr_loopback;
  to.sin6_port = htons(9);
  // A host without IPv6 has no users of it.
  if (const int error = connect_error(protocol, reinterpret_cast<sockaddr*>(&to), sizeof to);
      error == EADDRNOTAVAIL ? has_ipv6_loopback() : error != EAFNOSUPPORT && error != ENETUNREACH)
    count(error, out);
  return out;
}

std::uint64_t connections_begun() {
  std::istringstream lines{read_file("/proc/thread-self/net/snmp").value_or("")};
  std::string names, values;
  while (std::getline(lines, names) && std::getline(lines, values)) {
    if (!names.starts_with("Tcp:")) continue;
    std::istringstream name{names}, value{values};
    std::string key, number;
    while (name >> key && value >> number)
      if (key == "ActiveOpens") return std::strtoull(number.c_str(), nullptr, 10);
  }
  return 0;
}

}  // namespace squall
