// The TCP ports by which people and Squall itself reach this host; network faults spare them unless told otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace squall {

// The server's port of an SSH connection, as sshd leaves it to what it starts: out of /proc/PID/environ.
std::optional<std::uint16_t> ssh_port_of(std::string_view environment);

// In order: 22, that of the SSH connection which we or our ancestors run under (sudo takes it out of ours), and those on which SSH servers listen in this network
// namespace (an inode, of /proc/PID/ns/net). Without root only our own processes' ports are seen.
std::vector<std::uint16_t> control_ports(std::uint64_t network_namespace);

}  // namespace squall
