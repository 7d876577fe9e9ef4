// Netfilter's netlink sockets, kept for the next time.
#pragma once

#include "injector/host/netlink/netlink.hpp"

namespace squall {

// Closing one waits for a grace period of RCU, and whoever changes tables meanwhile waits too
// (nft_rcv_nl_event in net/netfilter/nf_tables_api.c): tens of milliseconds. So those of this process's own
// network namespace are used again.
netlink::Socket take_netfilter_socket();
inline constexpr std::size_t most_netfilter_sockets_kept = 8;
// Owns nothing and is bound to nothing any more.
void give_back(netlink::Socket);

}  // namespace squall
