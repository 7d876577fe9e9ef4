// Which sockets wait for connections or datagrams, and who holds them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <sys/types.h>

namespace squall {

// A socket that waits: TCP in LISTEN, or UDP bound to a port and connected to nobody.
struct Listener {
  std::uint16_t port = 0;
  std::uint64_t inode = 0;  // of the socket, as /proc/PID/fd names it
  bool udp = false;
  bool loopback = false;  // bound to an address that only this host itself reaches
  bool operator==(const Listener&) const = default;
};

// Those of the network namespace that the process is in, IPv4 and IPv6 (proc(5): /proc/PID/net/tcp and its
// like).
std::vector<Listener> listeners_around(pid_t);
// Inodes of the sockets that the process holds, sorted; nothing where we may not look.
std::optional<std::vector<std::uint64_t>> sockets_of(pid_t);
// Those of the process, each port of each protocol once.
std::vector<Listener> listeners_of(pid_t);

}  // namespace squall
