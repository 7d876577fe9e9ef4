#include "injector/faults/aim/tcp_place.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/claims.hpp"
#include "injector/host/connections/connection_tracking.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

template <>
struct EnumNames<faults::TcpDirection> {
  using D = faults::TcpDirection;
  static constexpr std::array<std::pair<std::string_view, D>, 3> names{
      {{"downstream", D::downstream}, {"upstream", D::upstream}, {"both", D::both}}};
};

const Object<faults::ConnectionPlace>& Describe<faults::ConnectionPlace>::object() {
  using faults::ConnectionPlace;
  static const auto schema =
      Object<ConnectionPlace>{"which connections are meant"}
          .optional("to", &ConnectionPlace::to,
                    "only connections with these peers: addresses, networks (10.0.0.0/8) or host names, "
                    "looked up once",
                    "every peer")
          .optional("except", &ConnectionPlace::except,
                    "of those, leave these peers alone: addresses, networks or host names, looked up once",
                    "none")
          .optional("port", &ConnectionPlace::port, "of what a process connects to: only these ports",
                    "every port")
          .optional("cut", &ConnectionPlace::cut,
                    "end connections that exist, so that they come back through the fault; else they stay as "
                    "they are",
                    "false")
          .optional("allow_isolation", &ConnectionPlace::allow_isolation,
                    "hit ssh and the metadata address of clouds too, which are spared else", "false")
          .rule([](const ConnectionPlace& with, const Value& value, Diagnostics& diagnostics) {
            faults::no_port_of_zero(with.port, value, diagnostics);
          });
  return schema;
}

const Object<faults::TcpPlace>& Describe<faults::TcpPlace>::object() {
  using faults::TcpPlace;
  static const auto schema =
      Object<TcpPlace>{"which part of which connections is meant"}
          .optional("direction", &TcpPlace::direction,
                    "downstream: what servers send; upstream: what clients send; both", "downstream")
          .optional("share", &TcpPlace::share, "of the connections, rolled once for each by the seed", "100%")
          .including(&TcpPlace::connections);
  return schema;
}

namespace faults {

const std::vector<std::string>& tcp_aims() {
  static const std::vector<std::string> aims{"listens_on", "exe",    "command",   "pid", "pidfile",
                                             "unit",       "cgroup", "container", "user"};
  return aims;
}

std::vector<proxy::Toxic> in_directions(const proxy::Toxic& toxic, const TcpPlace& place) {
  std::vector<proxy::Toxic> out;
  for (auto stream : {proxy::Stream::downstream, proxy::Stream::upstream}) {
    if (place.direction ==
        (stream == proxy::Stream::downstream ? TcpDirection::upstream : TcpDirection::downstream))
      continue;
    auto one = toxic;
    one.stream = stream;
    one.toxicity = place.share.fraction();
    // One name for both directions: a connection is hit in both or in none.
    one.name = proxy::name_of(toxic.type);
    out.push_back(std::move(one));
  }
  return out;
}

namespace {

bool tell_tracking(TcpAim& aim, Diagnostics& diagnostics) {
  TrackingTable tracking;
  in_network_namespace_if_there(aim.network.network_namespace, aim.network.namespace_pid,
                                [&] { tracking = connection_tracking(); });
  if (tracking.would_run_full()) {
    diagnostics.error(
        {},
        fmt::format(
            "the table of tracked connections would run full, and the kernel drops new connections then: {}",
            tracking.to_string()));
    return false;
  }
  aim.limits.push_back(tracking.to_string());
  return true;
}

}  // namespace

std::optional<TcpAim> aim_at_connections(const ConnectionPlace& place, const TargetSpec& on,
                                         const Setting& setting, Diagnostics& diagnostics, bool tracks) {
  if (on.listens_on && !place.port.empty()) {
    diagnostics.error({},
                      fmt::format("expected no port beside listens_on={}, which says it", *on.listens_on));
    return {};
  }
  NetworkPackets packets;
  packets.direction = Direction::both;
  packets.to = place.to;
  packets.except = place.except;
  packets.port = place.port;
  packets.protocol = PacketProtocol::tcp;
  packets.allow_isolation = place.allow_isolation;
  auto network = aim_at_network(packets, on, setting, diagnostics);
  if (!network) return {};
  TcpAim out;
  auto& rules = out.rules;
  rules.table = own_name(setting);
  rules.listener = network->own_port;
  rules.peers = network->match.peers;
  rules.ports = place.port;
  rules.cgroups = network->cgroups;
  rules.exempt = network->match.exempt;
  rules.exempt_peers = network->match.exempt_peers;
  rules.left_out = network->match.left_out;
  out.targets = network->targets;
  out.targets.pop_back();  // which speaks of packets
  std::string which = rules.listener        ? fmt::format("new TCP connections to port {}", *rules.listener)
                      : out.targets.empty() ? "new TCP connections that this host makes"
                                            : "new TCP connections that it makes";
  if (!place.port.empty()) which += fmt::format(" to port {}", fmt::join(place.port, " or "));
  if (!place.to.empty())
    which += fmt::format(" {} {}", rules.listener ? "from" : "to", fmt::join(place.to, " or "));
  if (!place.except.empty())
    which += fmt::format(", but not {} {}", rules.listener ? "from" : "to", fmt::join(place.except, " or "));
  out.targets.push_back(which);
  auto claim =
      fmt::format("tcp connections{}", rules.listener ? fmt::format(" to port {}", *rules.listener) : "");
  for (auto& cgroup : rules.cgroups)
    claim += " of " + to_string(cgroup);
  if (network->namespace_pid)
    claim += fmt::format(" in the network namespace {}", network->network_namespace);
  out.claims.push_back(claim_with_peers(claim, rules.peers));
  for (auto& limit : network->limits)
    if (limit.find("packet") == std::string::npos && limit.find(" lo ") == std::string::npos)
      out.limits.push_back(limit);
  out.limits.emplace_back(
      "connections are accepted here before the server has its say: checks that end with the handshake (tcp "
      "probes, load balancers) see the proxy");
  if (!place.cut)
    out.limits.emplace_back("connections that exist already stay as they are (cut: true ends them)");
  if (network->traffic) {
    auto meant = connections_of(*network);
    meant.made_here = !network->own_port;
    network->traffic = std::make_shared<TargetTraffic>(std::move(meant));
  }
  out.network = std::move(*network);
  if (tracks && !tell_tracking(out, diagnostics)) return {};
  return out;
}

}  // namespace faults
}  // namespace squall
