// Where faults on TCP connections take place: which connections are meant, which direction and which share of
// them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/host/connections/connection_rules.hpp"
#include "injector/proxy/toxic.hpp"

namespace squall::faults {

enum class TcpDirection { downstream, upstream, both };

// What all faults of the proxy have.
struct ConnectionPlace {
  std::vector<std::string> to, except;
  std::vector<std::uint16_t> port;
  bool cut = false;
  bool allow_isolation = false;
};

struct TcpPlace {
  TcpDirection direction = TcpDirection::downstream;
  Percent share{100};
  ConnectionPlace connections;
};

// The place resolved on this host: the rules without the proxy's port, and what else faults tell of it.
struct TcpAim {
  ConnectionRules rules;
  NetworkAim network;
  std::vector<std::string> targets, limits, claims;
};
// `tracks`: its rules need connection tracking, which is told, and refused where the table of connections
// would run full.
std::optional<TcpAim> aim_at_connections(const ConnectionPlace&, const TargetSpec&, const Setting&,
                                         Diagnostics&, bool tracks = true);
// What such a fault can be aimed with.
const std::vector<std::string>& tcp_aims();

// The toxic in each direction that is meant.
std::vector<proxy::Toxic> in_directions(const proxy::Toxic&, const TcpPlace&);

}  // namespace squall::faults

namespace squall {
template <>
struct Describe<faults::ConnectionPlace> {
  static const Object<faults::ConnectionPlace>& object();
};
template <>
struct Describe<faults::TcpPlace> {
  static const Object<faults::TcpPlace>& object();
};
}  // namespace squall
