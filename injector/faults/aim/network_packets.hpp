// What every packet fault is aimed with: the parameters that say which packets are meant, and the mechanism.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/host/match/packet_match.hpp"
#include "scenarios/schema/schema.hpp"

namespace squall::faults {

enum class Direction { out, in, both };
using PacketProtocol = Protocol;
enum class PacketMechanism { kernel, userland };

struct NetworkPackets {
  Direction direction = Direction::out;
  std::vector<std::string> to, except;
  std::vector<std::uint16_t> port;
  PacketProtocol protocol = PacketProtocol::any;
  std::optional<PacketMechanism> mechanism;
  bool allow_isolation = false;
};

// Where a key of a mapping stands, or the mapping itself.
Place place_of(const Value&, const char* key);
// An error at "port" where one is 0.
void no_port_of_zero(const std::vector<std::uint16_t>&, const Value&, Diagnostics&);
// The same, or where the protocol has none.
void check_ports(const std::vector<std::uint16_t>&, PacketProtocol, const Value&, Diagnostics&);

}  // namespace squall::faults

namespace squall {
template <>
struct EnumNames<faults::Direction> {
  using D = faults::Direction;
  static constexpr std::array<std::pair<std::string_view, D>, 3> names{
      {{"out", D::out}, {"in", D::in}, {"both", D::both}}};
};
// A name, or the number of a protocol.
template <>
struct Codec<Protocol> {
  static std::string name();
  static bool decode(const Value&, Protocol&, Diagnostics&);
  static boost::json::object schema();
};
template <>
struct Describe<faults::NetworkPackets> {
  static const Object<faults::NetworkPackets>& object();
};
}  // namespace squall
