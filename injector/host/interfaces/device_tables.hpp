// What the kernel forgets when network devices go down or lose their carrier (rtnetlink(7)).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "injector/host/netlink/kept.hpp"

namespace squall::links {

// By their index. A device that goes down loses its IPv6 addresses, its routes and its neighbours; one
// without a carrier only its nexthop objects, the routes through them, and on older kernels its proxies.
struct Devices {
  std::set<std::uint32_t> down, dark;
  bool any(std::uint32_t index) const { return down.contains(index) || dark.contains(index); }
};

struct Tables {
  // Nexthop objects before groups of them; connected routes before those through a gateway.
  std::vector<Kept> addresses, nexthops, routes, neighbours;
  std::set<std::uint32_t> with_default_route, with_ipv6;  // of all devices
  std::size_t size() const { return addresses.size() + nexthops.size() + routes.size() + neighbours.size(); }
};

Tables read_tables(const Devices&);

// The nexthop object or group as it is now; nothing where there is none.
std::optional<Kept> read_nexthop(netlink::Socket&, std::uint32_t id);

}  // namespace squall::links
