// What connection tracking knows of one connection: whether its addresses are translated on their way (NAT).
#pragma once

#include <optional>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/netlink/netlink.hpp"

namespace squall {

// As the one who began it wrote it, and as its answers are written, in the direction of the connection:
// `asked` is whom the client wanted, `reached` is whom it got.
struct Translation {
  Endpoint client, asked;     // before
  Endpoint seen_as, reached;  // behind
  bool is_none() const { return asked == reached && client == seen_as; }
};

// In the network namespace of the thread that makes it.
class ConnectionTracking {
 public:
  ConnectionTracking() : socket_(NETLINK_NETFILTER) {}
  // By the ends that a socket has: `accepted` where it is the server's. Nothing where the kernel does not
  // track it, or has not from its beginning.
  std::optional<Translation> find(const Endpoint& local, const Endpoint& remote, bool accepted);

 private:
  netlink::Socket socket_;
};

}  // namespace squall
