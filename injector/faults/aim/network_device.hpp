// What network.down and network.mtu have in common: one device, here or where processes are, and its state.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "injector/faults/aim/network_place.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/interfaces/interface_state.hpp"

namespace squall::faults {

constexpr std::string_view device_mechanism = "the device itself (rtnetlink)";

struct AimedDevice {
  links::InterfaceState state;
  NetworkPlace place;
  std::vector<links::Elsewhere> uppers_elsewhere;

  // The pid by which the journal finds the namespace again.
  pid_t hint() const;
  void in_place(const std::function<void()>& act) const;
  // What it is by now: a plan may be older than what is done.
  void look_again();
  // Queues a change that is made where it is.
  void change(Transaction&, std::string what, Inverse, std::function<void()> act) const;
  std::string to_string() const;  // "eth0", "eth0 of the network namespace of nginx[4711]"
};

std::optional<AimedDevice> find_device(const TargetSpec&, const Setting&, Diagnostics&);
const std::vector<std::string>& device_aims();
// What this host lacks for changing a device, "" for nothing.
std::string needs_network_admin();
std::vector<Capability> device_doctor(std::string measures);

}  // namespace squall::faults
