// A packet match as a classic BPF program (Documentation/networking/filter.rst), as tc-bpf(8) takes it.
#pragma once

#include <vector>

#include <linux/filter.h>

#include "injector/host/match/packet_match.hpp"

namespace squall {

// Returns `matched` for packets that match, 0 for others. Reads from the network header on, so it is the same
// for every kind of device. Up to six extension headers of IPv6 are skipped. Throws std::runtime_error where
// the match needs more than the 4096 instructions the kernel takes.
std::vector<sock_filter> packet_filter(const PacketMatch&, std::uint32_t matched);

// Takes about one packet in `one_in` (a power of two up to 4096), always the same ones wherever it looks;
// keeps `bytes` of each.
std::vector<sock_filter> sampling_filter(unsigned one_in, std::uint32_t bytes);

}  // namespace squall
