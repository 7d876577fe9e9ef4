// Ports that a starter (systemd, inetd, xinetd) listens on to start an SSH server for each connection: from
// their configuration, since nothing of ssh runs before somebody comes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace squall {

// Port → which line of which file says so: "ssh.socket starts /usr/sbin/sshd". `root` stands for "/" in
// tests.
std::map<std::uint16_t, std::string> ports_of_ssh_sockets(
    const std::string& root = "");  // systemd's socket units
std::map<std::uint16_t, std::string> ports_of_ssh_in_inetd(
    const std::string& root = "");  // inetd.conf, xinetd.d

// Whether a command line, its words separated by blanks or NUL, runs an SSH server: by the base name of any
// word.
bool starts_ssh(std::string_view command);

}  // namespace squall
