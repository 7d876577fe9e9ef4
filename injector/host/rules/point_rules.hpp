// The rules that tell which packets one point takes (detour_rules.hpp): a chain for each question, from the
// network's protocol over the addresses to the ports, and where they lead in the end.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "injector/host/rules/detour_rules.hpp"

namespace squall {

bool at_device(const HoldPoint&);
// Where a point's packets come in the end.
nft::Chain hold_chain(const DetourRules&, const HoldPoint&);
// Where first pieces of packets are remembered, for rules that know packets by their ports.
void add_piece_sets(netlink::Messages&, nft::Family, std::string_view table);
// Writes the rules of a point, once for all points that mean the same packets and do the same to them; the
// chain they begin in.
std::string add_point_rules(netlink::Messages&, const DetourRules&, std::size_t number);
// More peers at the end of the chains there are; a family that had none gets its chains.
void add_point_peers(netlink::Messages&, const DetourRules&, std::size_t number,
                     std::span<const Prefix> more);

}  // namespace squall
