// What goes down with a network device: itself, what the kernel forgets of it, and devices that stand on it;
// kept, so that all of it comes back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "injector/change/inverse.hpp"
#include "injector/host/interfaces/device_tables.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/netlink/uppers.hpp"

namespace squall::links {

struct InterfaceState {
  Link link;
  std::vector<Upper> uppers;
  Tables tables;
};

// Of a device of the caller's network namespace; nothing where there is none.
std::optional<InterfaceState> read_state(const std::string& name);
// The default route goes through it, or through what has no other way than it; the name of that one, or "".
std::string default_route_by(const InterfaceState&);
// Whether packets to the address, or what a host name means, leave by the device.
bool leads_to(const InterfaceState&, const std::string& address);

// These throw std::runtime_error where the kernel refuses.
void set_up(std::uint32_t index, bool up);
void set_mtu(std::uint32_t index, std::uint32_t mtu);
// Whether a VLAN keeps its own state when its lower device goes down or up.
void set_loose(std::uint32_t vlan, bool loose);

// Up again, with all that it had.
Inverse up_again(const InterfaceState&, std::uint64_t network_namespace, pid_t in);
// The MTU that it and what stands on it had, where they still have ours.
Inverse mtu_again(const InterfaceState&, std::uint32_t ours, std::uint64_t network_namespace, pid_t in);

}  // namespace squall::links

namespace squall::undo {
extern const UndoVerb interface_up, interface_mtu;
}
