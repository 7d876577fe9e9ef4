// What the TCP sockets of a network namespace did, by the kernel's own counters (sock_diag(7)), and what
// those had done that are gone.
#pragma once

#include <cstdint>
#include <functional>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/host/rules/socket_owner.hpp"

namespace squall {

struct TcpSocket {
  Endpoint local, remote;
  std::uint64_t cookie = 0;  // what no other socket of this host ever has
  std::uint64_t inode = 0;   // as /proc/PID/fd names it; 0: nobody holds it
  SocketCgroup cgroup;       // in which it was made: both numbers, where the kernel tells them
  bool listens = false;
  bool ended = false;
  // Since it was made. Segments count as on the wire; those with data are among them.
  std::uint32_t segments_in = 0, segments_out = 0, data_in = 0, data_out = 0;
};

// In the network namespace of the thread that makes it.
class TcpSockets {
 public:
  TcpSockets();
  using Each = std::function<void(const TcpSocket&)>;
  // Those that listen and those that are connected, half-open ones of a listener left out. False where the
  // kernel refuses.
  bool each(const Each&);
  // Those that ended since this was asked before, with what they did (SKNLGRP_INET_TCP_DESTROY, Linux 4.3).
  // The kernel tells no cgroup and no inode of them. False where some were missed: the kernel had no room for
  // them.
  bool each_ended(const Each&);

 private:
  netlink::Dumper dumper_;
  Fd ended_;
};

}  // namespace squall
