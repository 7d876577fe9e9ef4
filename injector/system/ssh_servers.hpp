// Which listening TCP ports lead to an SSH server, by what is behind them: not the listener's name, but who
// serves there.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <sys/types.h>

namespace squall {

// Port → why, "" where a process called sshd or dropbear listens there itself; of one network namespace (an
// inode). Found by:
//  - the listener: its name, its executable (a renamed sshd), its command line (systemd-socket-activate …
//  sshd -i);
//  - its configuration, where systemd, inetd or xinetd listens;
//  - who serves a connection that came by the port: an SSH server, or whoever started a process with that
//  SSH_CONNECTION;
//  - where it passes connections on: to another of these ports (sslh, a port forward).
// What only starts a server once somebody comes, by other means, is not seen before.
std::map<std::uint16_t, std::string> ports_of_ssh_servers(std::uint64_t network_namespace);

// Whether an executable is an SSH server, by texts that are in it.
bool is_ssh_server(const std::string& executable);

}  // namespace squall
