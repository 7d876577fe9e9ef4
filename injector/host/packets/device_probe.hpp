// What becomes of packets of our own that have to leave by a device; none of them is ever sent.
#pragma once

#include <cstdint>

#include "injector/host/netlink/links.hpp"

namespace squall::links {

// 0, or why the kernel has no way out by the device: ENETUNREACH where it is down.
int refusal_by(const Link&);

// The largest IPv4 packet that the kernel lets out by it in one piece, in bytes; 0 where it lets none out. A
// guess spares the search.
std::uint32_t largest_packet_by(const Link&, std::uint32_t guess);

}  // namespace squall::links
