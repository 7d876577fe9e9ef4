// Devices that stand on another one: VLANs, macvlans and their like, bridges and bonds that it is a port of.
#pragma once

#include <vector>

#include "injector/host/netlink/links.hpp"

namespace squall::links {

struct Upper {
  Link link;
  bool goes_down = false;  // with it, and so loses what it has; others only lose their carrier
  bool cut_off = false;    // its packets have no other way
  bool shrinks = false;    // the kernel makes its MTU no larger than that of the lower one
};

// Whether the kernel closes it, or makes it smaller, together with its lower device.
bool closes_with_lower(const Link&);
bool shrinks_with_lower(const Link&);

// Those within the same network namespace, and those on them, the nearest ones first.
std::vector<Upper> uppers_of(const Link& lower, const std::vector<Link>& all);

// Those of other network namespaces that stand on it directly, as far as we may look there.
struct Elsewhere {
  Link link;
  std::uint64_t network_namespace = 0;
};
std::vector<Elsewhere> uppers_elsewhere(const Link& lower);

}  // namespace squall::links
