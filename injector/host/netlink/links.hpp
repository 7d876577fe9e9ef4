// Network devices of this host by rtnetlink(7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "injector/change/inverse.hpp"

namespace squall::links {

struct Link {
  std::string name, alias, kind;
  std::vector<std::string> altnames;
  std::uint32_t index = 0;
  std::uint32_t mtu = 0;       // bytes
  std::uint32_t ipv6_mtu = 0;  // net.ipv6.conf.NAME.mtu; 0 where it has no IPv6
  std::uint32_t master = 0;    // of a bridge or a bond it belongs to
  std::uint32_t lower = 0;     // that it stands on, or a veth's peer
  int lower_namespace = -1;    // where that is: a nsid of this network namespace (RTM_GETNSID); -1: here
  bool loose = false;          // a VLAN that stays up when its lower device goes down
  bool up = false, running = false, loopback = false;
  bool ethernet = false;  // its frames carry an Ethernet header
};

// The devices of the caller's network namespace.
std::vector<Link> all();
std::optional<Link> find(const std::string& name);
// Without reading all of them.
std::optional<Link> by_index(std::uint32_t);
// The device that this one was, whatever its name is now: the kernel gives an index again only when it has
// run out of new ones.
std::optional<Link> find_again(const Link& as_it_was);

// What a device has counted; all zero where there is none. "Received" by an ifb is what was led to it.
struct Traffic {
  std::uint64_t received = 0, sent = 0, receive_drops = 0, send_drops = 0;  // packets
};
Traffic traffic(std::uint32_t index);

// The inverse of making a device: removes it, recognised by its name and alias in its network namespace.
Inverse removal(const std::string& name, const std::string& alias, std::uint64_t network_namespace, pid_t in);

}  // namespace squall::links

namespace squall::undo {
extern const UndoVerb link_delete;
}
