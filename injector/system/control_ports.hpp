// The TCP ports by which people and Squall itself reach this host; network faults spare them unless told
// otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace squall {

// An SSH connection, as sshd leaves it to what it starts.
struct SshConnection {
  std::string client;      // its address
  std::uint16_t port = 0;  // the server's
  bool operator==(const SshConnection&) const = default;
};
// Out of an environment as /proc/PID/environ has it.
std::optional<SshConnection> ssh_connection_of(std::string_view environment);
// Those which we or our ancestors run under: sudo takes it out of our environment.
std::vector<SshConnection> ssh_connections();

struct ControlPort {
  std::uint16_t port = 0;
  std::string why;  // where it is not 22 and no sshd listens there by that name: "systemd[1] listens there,
                    // and ssh.socket starts /usr/sbin/sshd"
};

// In order: 22, those of these connections, and those behind which an SSH server is in this network namespace
// (an inode, of /proc/PID/ns/net): who listens there, whom that starts, and who serves the connections
// (ssh_servers.hpp). Without root only our own processes' ports are seen.
std::vector<ControlPort> control_ports(std::uint64_t network_namespace);

}  // namespace squall
