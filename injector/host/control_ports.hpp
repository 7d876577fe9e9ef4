// The TCP ports by which people and Squall itself reach this host; network faults spare them unless told otherwise.
#pragma once

#include <cstdint>
#include <vector>

namespace squall {

// In order: 22, that of the SSH connection which we run under, and those on which SSH servers listen in this network
// namespace (an inode, of /proc/PID/ns/net). Without root only our own processes' ports are seen.
std::vector<std::uint16_t> control_ports(std::uint64_t network_namespace);

}  // namespace squall
