// Live TCP connections of a network namespace (sock_diag(7)), and their end (SOCK_DESTROY, Linux 4.5 with
// CONFIG_INET_DIAG_DESTROY: RFC 9293 ABORT, a reset to the peer and ECONNABORTED to the owner).
#pragma once

#include <random>
#include <vector>

#include "injector/host/match/packet_match.hpp"
#include "injector/host/rules/socket_owner.hpp"
#include "scenarios/text/units.hpp"

namespace squall {

struct CutConnections {
  std::size_t found = 0, cut = 0;
};
// Ends those of the caller's network namespace whose packets the match means, in either direction, of these
// cgroups (empty: of any), or as many of them as `amount` says, drawn at random. Throws std::runtime_error
// where the kernel refuses.
CutConnections cut_connections(const PacketMatch&, const std::vector<SocketCgroup>&);
CutConnections cut_connections(const PacketMatch&, const std::vector<SocketCgroup>&, const Amount& amount,
                               std::mt19937_64& random);
// Only those whose packets leave by one of these devices: the one that the socket is bound to, or that of the
// route to its peer.
CutConnections cut_connections_by(const std::vector<std::uint32_t>& devices, const PacketMatch&,
                                  const std::vector<SocketCgroup>&);

}  // namespace squall
