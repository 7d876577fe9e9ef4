#include "injector/faults/network_packets.hpp"

namespace squall {

template <>
struct EnumNames<faults::Direction> {
  using D = faults::Direction;
  static constexpr std::array<std::pair<std::string_view, D>, 3> names{{{"out", D::out}, {"in", D::in}, {"both", D::both}}};
};
template <>
struct EnumNames<faults::PacketProtocol> {
  using P = faults::PacketProtocol;
  static constexpr std::array<std::pair<std::string_view, P>, 4> names{{{"any", P::any}, {"tcp", P::tcp}, {"udp", P::udp}, {"icmp", P::icmp}}};
};
template <>
struct EnumNames<faults::PacketMechanism> {
  using M = faults::PacketMechanism;
  static constexpr std::array<std::pair<std::string_view, M>, 2> names{{{"kernel", M::kernel}, {"userland", M::userland}}};
};

namespace faults {

Place place_of(const Value& value, const char* key) {
  auto* found = value.find(key);
  return found ? found->place : value.place;
}

void no_port_of_zero(const std::vector<std::uint16_t>& ports, const Value& value, Diagnostics& diagnostics) {
  if (std::find(ports.begin(), ports.end(), 0) != ports.end()) diagnostics.error(place_of(value, "port"), "expected a port from 1 to 65535, got 0");
}

}  // namespace faults

const Object<faults::NetworkPackets>& Describe<faults::NetworkPackets>::object() {
  using faults::NetworkPackets;
  static const auto schema =
      Object<NetworkPackets>{"which packets are meant"}
          .optional("direction", &NetworkPackets::direction, "seen from the target: what it sends, what it receives, or both", "out")
          .optional("to", &NetworkPackets::to, "only packets exchanged with these peers: addresses, networks (10.0.0.0/8) or host names, looked up once (by network.partition again every 5 s)", "every peer")
          .optional("port", &NetworkPackets::port, "only TCP and UDP packets with one of these ports, the peer's or its own; on lo, out is towards the port, in is from it", "every port")
          .optional("protocol", &NetworkPackets::protocol, "only these packets", "any")
          .optional("mechanism", &NetworkPackets::mechanism, "netem of the kernel, or our own packet queue", "the best this host has")
          .optional("allow_isolation", &NetworkPackets::allow_isolation,
                    "hit the control channel too (ssh, and the metadata address of clouds), which is spared else; a host that cannot be reached undoes by itself when its lease runs out", "false")
          .rule([](const NetworkPackets& with, const Value& value, Diagnostics& diagnostics) {
            if (!with.port.empty() && with.protocol == faults::PacketProtocol::icmp) diagnostics.error(faults::place_of(value, "port"), "expected no port: icmp has none");
            faults::no_port_of_zero(with.port, value, diagnostics);
          });
  return schema;
}

}  // namespace squall
