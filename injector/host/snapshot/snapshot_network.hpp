// The network's part of a host snapshot, by netlink dumps of the current network namespace.
#pragma once

#include "injector/host/snapshot/snapshot.hpp"

namespace squall::snapshot {

// Links with what is configured of IP on them, queueing disciplines, classes of the classful ones, and
// filters (rtnetlink(7), tc(8)).
void add_devices(HostState&);

// Tables with their chains, rules and sets, one digest a table (needs CAP_NET_ADMIN).
void add_nftables(HostState&);

}  // namespace squall::snapshot
