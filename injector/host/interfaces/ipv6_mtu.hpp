// What the kernel makes of IPv6 when a device's MTU changes or the device comes up (addrconf_notify in
// net/ipv6/addrconf.c): it sets net.ipv6.conf.NAME.mtu, which a router may have advertised, to the device's
// own, and the MTU of routes along with it (rt6_mtu_change in net/ipv6/route.c).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "injector/host/netlink/kept.hpp"
#include "injector/host/netlink/links.hpp"

namespace squall::links {

// Sets net.ipv6.conf.NAME.mtu where it is what the kernel made of it, which is one of `made`; whether it did.
// Throws std::runtime_error where the kernel refuses.
bool put_back_ipv6_mtu(const Link& as_it_was, std::span<const std::uint32_t> made);

// Of these routes those of IPv6 that say their MTU.
std::vector<Kept> routes_with_mtu(const std::vector<Kept>& routes);
// Gives those their MTU again that are there now with one of `made` instead; whether there were any.
bool put_back_mtus(const std::vector<Kept>& as_they_were, std::span<const std::uint32_t> made);

}  // namespace squall::links
