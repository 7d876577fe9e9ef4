// What the kernel forgets when a network device goes down: its IPv6 addresses, the routes that lead through it and its
// permanent neighbours (rtnetlink(7)); kept, so that all of it comes back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "injector/host/links.hpp"
#include "injector/inverse.hpp"

namespace squall::links {

struct InterfaceState {
  Link link;
  bool default_route = false;  // one leads through it
  // Messages that would make them again, as hexadecimal digits.
  std::vector<std::string> addresses, routes, neighbours;
};

// Of a device of the caller's network namespace; nothing where there is none.
std::optional<InterfaceState> read_state(const std::string& name);
bool has_ipv6(const InterfaceState&);
// Whether packets to the address, or what a host name means, leave by the device.
bool leads_to(const InterfaceState&, const std::string& address);

// These throw std::runtime_error where the kernel refuses.
void set_up(std::uint32_t index, bool up);
void set_mtu(std::uint32_t index, std::uint32_t mtu);
// Adds what is not there; what cannot be added now (a route whose gateway is not reachable yet) is returned.
std::vector<std::string> add_again(const InterfaceState&, bool* changed = nullptr);

// Up again, with all that it had.
Inverse up_again(const InterfaceState&, std::uint64_t network_namespace, pid_t in);
// The MTU that it had, where it still has ours.
Inverse mtu_again(const InterfaceState&, std::uint32_t ours, std::uint64_t network_namespace, pid_t in);

}  // namespace squall::links

namespace squall::undo {
extern const UndoVerb interface_up, interface_mtu;
}
