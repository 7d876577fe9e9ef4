// What people configured of IP, for a host snapshot: addresses, nexthop objects, routes, neighbours that are
// proxied for.
#pragma once

#include <map>
#include <string>

#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/host/snapshot/snapshot.hpp"

namespace squall::snapshot {

// `links` are the devices' names by their index. What routers, routing daemons, DHCP and the kernel itself
// make comes and goes, and is left out.
void add_ip(netlink::Dumper&, const std::map<int, std::string>& links, HostState&);

}  // namespace squall::snapshot
