// Live TCP connections of a network namespace (sock_diag(7)), and their end (SOCK_DESTROY, Linux 4.5 with
// CONFIG_INET_DIAG_DESTROY: RFC 9293 ABORT, a reset to the peer and ECONNABORTED to the owner).
#pragma once

#include <vector>

#include "injector/host/detour_rules.hpp"

namespace squall {

// Ends those of the caller's network namespace whose packets the match means, in either direction, of these cgroups (empty:
// of any). How many; throws std::runtime_error where the kernel refuses.
std::size_t cut_connections(const PacketMatch&, const std::vector<SocketCgroup>&);

}  // namespace squall
