// Which connections rules of nf_tables came across: the ends of TCP and UDP packets, in sets of the rules'
// own table.
#pragma once

#include <string>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/rules/nftables.hpp"

namespace squall::remembered_ends {

// The sets, before the rules that fill them. What no packet renews is forgotten after a minute, so read them
// more often.
void add_sets(netlink::Messages&, nft::Family, const std::string& table);
// Rules that remember a packet's ends, and leave it to the next rule.
void add_rules(netlink::Messages&, const nft::Chain&);
// Adds what they know by now; reads the caller's network namespace.
void read(nft::Family, const std::string& table, EndpointSet& into);

}  // namespace squall::remembered_ends
