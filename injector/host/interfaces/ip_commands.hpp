// Things of the kernel's network tables as the ip(8) commands that make them, for a person to type.
#pragma once

#include <string>

#include "injector/host/netlink/kept.hpp"

namespace squall::links {

// "ip route add 10.0.0.0/8 via 10.1.0.1 dev eth0 table 254 proto 4 scope 0"; `verb` is add or replace. An
// encapsulation is only hinted at ("encap …").
std::string ip_command(const Kept&, const std::string& verb);

}  // namespace squall::links
