// What the faults that take ports have in common: sockets of ours, bound in one network namespace, closed at
// the undo.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "injector/faults/aim/network_place.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/connections/held_ports.hpp"

namespace squall {

template <>
struct EnumNames<PortProtocol> {
  using P = PortProtocol;
  static constexpr std::array<std::pair<std::string_view, P>, 2> names{{{"tcp", P::tcp}, {"udp", P::udp}}};
};

namespace faults {

constexpr std::string_view ports_mechanism = "sockets bound to the ports";

class PortsFault : public Fault {
 public:
  PortsFault(PortProtocol protocol, NetworkPlace place) : protocol_(protocol), place_(std::move(place)) {}
  std::string mechanism() const override { return std::string(ports_mechanism); }
  // A port is missed by whatever device somebody would have come.
  Reach reach() const override { return place_.reach({}); }

  void stopping() override;
  Dose measure() override;
  std::vector<FaultEvent> events() override { return place_.watch.events(); }

 protected:
  virtual Dose look() = 0;
  void in_place(const std::function<void()>& act) const;
  // Whose act takes ports into held_.
  Change change(std::string what);

  PortProtocol protocol_;
  NetworkPlace place_;
  HeldPorts held_;

 private:
  Dose last_;
  bool stopped_ = false;
};

// Reports what is wrong and returns nothing: ports are of all interfaces.
std::optional<NetworkPlace> place_of_ports(const TargetSpec&, const Setting&, Diagnostics&);
const std::vector<std::string>& aims_of_ports();
Capability ports_by_sockets(std::string missing);

}  // namespace faults
}  // namespace squall
