#include "injector/faults/aim/network_packets.hpp"

#include <charconv>

namespace squall {

template <>
struct EnumNames<faults::PacketMechanism> {
  using M = faults::PacketMechanism;
  static constexpr std::array<std::pair<std::string_view, M>, 2> names{
      {{"kernel", M::kernel}, {"userland", M::userland}}};
};

namespace {
std::string names_joined(std::string_view between) {
  std::string out;
  for (auto& [name, protocol] : protocol_names)
    out += (out.empty() ? "" : std::string(between)) + std::string(name);
  return out;
}
}  // namespace

std::string Codec<Protocol>::name() {
  return names_joined(" | ") + " | number";
}

bool Codec<Protocol>::decode(const Value& value, Protocol& out, Diagnostics& diagnostics) {
  std::vector<std::string> known;
  for (auto& [name, protocol] : protocol_names) {
    if (value.kind == Value::Kind::scalar && value.text == name) {
      out = protocol;
      return true;
    }
    known.emplace_back(name);
  }
  unsigned number = 256;
  const auto& text = value.text;
  if (value.kind == Value::Kind::scalar &&
      std::from_chars(text.data(), text.data() + text.size(), number).ptr == text.data() + text.size() &&
      number < 256) {
    out = static_cast<Protocol>(number);
    return true;
  }
  auto message = fmt::format("expected one of {}, or a number from 0 to 255, got {}", names_joined(", "),
                             value.describe());
  if (!nearest(text, known).empty()) message += hint(text, known);
  diagnostics.error(value.place, message);
  return false;
}

boost::json::object Codec<Protocol>::schema() {
  boost::json::array names;
  for (auto& [name, protocol] : protocol_names)
    names.emplace_back(name);
  return {{"anyOf",
           boost::json::array{boost::json::object{{"enum", std::move(names)}},
                              boost::json::object{{"type", "integer"}, {"minimum", 0}, {"maximum", 255}}}}};
}

namespace faults {

Place place_of(const Value& value, const char* key) {
  auto* found = value.find(key);
  return found ? found->place : value.place;
}

void check_ports(const std::vector<std::uint16_t>& ports, PacketProtocol protocol, const Value& value,
                 Diagnostics& diagnostics) {
  if (!ports.empty() && !has_ports(protocol))
    diagnostics.error(place_of(value, "port"),
                      fmt::format("expected no port: {} has none", to_string(protocol)));
  no_port_of_zero(ports, value, diagnostics);
}

void no_port_of_zero(const std::vector<std::uint16_t>& ports, const Value& value, Diagnostics& diagnostics) {
  if (std::find(ports.begin(), ports.end(), 0) != ports.end())
    diagnostics.error(place_of(value, "port"), "expected a port from 1 to 65535, got 0");
}

}  // namespace faults

const Object<faults::NetworkPackets>& Describe<faults::NetworkPackets>::object() {
  using faults::NetworkPackets;
  static const auto schema =
      Object<NetworkPackets>{"which packets are meant"}
          .optional("direction", &NetworkPackets::direction,
                    "seen from the target: what it sends, what it receives, or both", "out")
          .optional("to", &NetworkPackets::to,
                    "only packets exchanged with these peers: addresses, networks (10.0.0.0/8) or host "
                    "names, looked up once",
                    "every peer")
          .optional("except", &NetworkPackets::except,
                    "of those, leave these peers alone: addresses, networks or host names, looked up once",
                    "none")
          .optional("port", &NetworkPackets::port,
                    "only TCP, UDP and SCTP packets with one of these ports, the peer's or its own; on lo, "
                    "out is towards the port, in is from it",
                    "every port")
          .optional("protocol", &NetworkPackets::protocol,
                    "only these packets: by name, or by the number that IP headers carry; ah in IPv4 alone",
                    "any")
          .optional("mechanism", &NetworkPackets::mechanism, "netem of the kernel, or our own packet queue",
                    "the best this host has")
          .optional("allow_isolation", &NetworkPackets::allow_isolation,
                    "hit the control channel too (ssh, and the metadata address of clouds), which is spared "
                    "else; a host that cannot be reached undoes by itself when its lease runs out",
                    "false")
          .rule([](const NetworkPackets& with, const Value& value, Diagnostics& diagnostics) {
            faults::check_ports(with.port, with.protocol, value, diagnostics);
          });
  return schema;
}

}  // namespace squall
