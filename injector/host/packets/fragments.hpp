// Packets that were cut into pieces, as the kernel counts them (netstat -s).
#pragma once

#include <cstdint>

namespace squall {

// Pieces that this host made, and those it got to put together, so far; those it only forwards are not among
// them. In the thread's network namespace.
std::uint64_t fragments_so_far();

}  // namespace squall
