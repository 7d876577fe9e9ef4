// Delays packets by one of two mechanisms of the same meaning: netem on a device of our own behind clsact, where the
// kernel has it, or our own packet queue.
#include "injector/faults/network_delay.hpp"

#include <fmt/format.h>

#include "injector/faults/network_delay_aim.hpp"
#include "injector/faults/network_delay_netem.hpp"
#include "injector/faults/network_delay_userland.hpp"

namespace squall {

template <>
struct EnumNames<Distribution> {
  using D = Distribution;
  static constexpr std::array<std::pair<std::string_view, D>, 4> names{
      {{"uniform", D::uniform}, {"normal", D::normal}, {"pareto", D::pareto}, {"paretonormal", D::paretonormal}}};
};
template <>
struct EnumNames<faults::Direction> {
  using D = faults::Direction;
  static constexpr std::array<std::pair<std::string_view, D>, 3> names{{{"out", D::out}, {"in", D::in}, {"both", D::both}}};
};
template <>
struct EnumNames<faults::DelayProtocol> {
  using P = faults::DelayProtocol;
  static constexpr std::array<std::pair<std::string_view, P>, 4> names{{{"any", P::any}, {"tcp", P::tcp}, {"udp", P::udp}, {"icmp", P::icmp}}};
};
template <>
struct EnumNames<faults::DelayMechanism> {
  using M = faults::DelayMechanism;
  static constexpr std::array<std::pair<std::string_view, M>, 2> names{{{"kernel", M::kernel}, {"userland", M::userland}}};
};

namespace faults {
static Place place_of(const Value& value, const char* key) {
  auto* found = value.find(key);
  return found ? found->place : value.place;
}
}  // namespace faults

template <>
struct Describe<faults::NetworkDelay> {
  static const Object<faults::NetworkDelay>& object() {
    using faults::NetworkDelay;
    static const auto schema =
        Object<NetworkDelay>{"delays packets"}
            .required("delay", &NetworkDelay::delay, "how long each packet waits, one way; 0 only leads packets through the mechanism, to rehearse")
            .between(&NetworkDelay::delay, Duration{0}, Duration{3'600'000'000'000})
            .optional("jitter", &NetworkDelay::jitter, "how much the delay varies from packet to packet, which reorders them: the standard deviation (uniform: the half width)")
            .between(&NetworkDelay::jitter, Duration{1'000}, Duration{3'600'000'000'000})
            .optional("distribution", &NetworkDelay::distribution, "of the jitter", "normal")
            .optional("correlation", &NetworkDelay::correlation, "of each packet's jitter with that of the one before", "0%")
            .optional("direction", &NetworkDelay::direction, "seen from the target: what it sends, what it receives, or both", "out")
            .optional("to", &NetworkDelay::to, "only packets exchanged with these peers: addresses, networks (10.0.0.0/8) or host names, looked up once", "every peer")
            .optional("port", &NetworkDelay::port, "only TCP and UDP packets with one of these ports, the peer's or its own; on lo, out is towards the port, in is from it", "every port")
            .optional("protocol", &NetworkDelay::protocol, "only these packets", "any")
            .optional("mechanism", &NetworkDelay::mechanism, "netem of the kernel, or our own packet queue", "the best this host has")
            .rule([](const NetworkDelay& with, const Value& value, Diagnostics& diagnostics) {
              auto place = [&](const char* key) { return faults::place_of(value, key); };
              if (with.distribution && !with.jitter) diagnostics.error(place("distribution"), "expected a jitter beside the distribution");
              if (with.correlation && !with.jitter) diagnostics.error(place("correlation"), "expected a jitter beside the correlation");
              if (with.jitter && *with.jitter > with.delay)
                diagnostics.error(place("jitter"), fmt::format("expected a jitter of at most the delay ({}), got {}", to_string(with.delay), to_string(*with.jitter)));
              if (!with.port.empty() && with.protocol == faults::DelayProtocol::icmp) diagnostics.error(place("port"), "expected no port: icmp has none");
              for (auto port : with.port)
                if (port == 0) diagnostics.error(place("port"), "expected a port from 1 to 65535, got 0");
            });
    return schema;
  }
};

namespace faults {

DelayShape NetworkDelay::shape() const {
  return {delay.ns, jitter ? jitter->ns : 0, distribution.value_or(Distribution::normal), correlation ? correlation->fraction() : 0};
}

namespace {

std::unique_ptr<Fault> prepare(const Value& with, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  NetworkDelay parameters;
  if (!Codec<NetworkDelay>::decode(with, parameters, diagnostics)) return nullptr;
  auto aim = aim_at_network(parameters, on, diagnostics);
  if (!aim) return nullptr;
  if (parameters.mechanism != DelayMechanism::userland) {
    const auto why = netem_cannot(*aim);
    // Coming and going must harm nobody, and putting clsact on a device does: then our own queue is better.
    const bool harmless = needs_clsact(*aim).empty() || !userland_delay_capability().possible;
    if (why.empty() && (harmless || parameters.mechanism)) return netem_delay(parameters, std::move(*aim), setting, diagnostics);
    if (parameters.mechanism == DelayMechanism::kernel) {
      diagnostics.error(place_of(with, "mechanism"), fmt::format("the kernel's own mechanism cannot be had: {}", why));
      return nullptr;
    }
  }
  return userland_delay(parameters, std::move(*aim), setting, diagnostics);
}

std::vector<Capability> doctor() {
  auto kernel = netem_delay_capability(), userland = userland_delay_capability();
  userland.chosen = userland.possible;
  kernel.chosen = kernel.possible && !userland.possible;
  if (kernel.possible && userland.possible) kernel.note = "used where the device has a clsact qdisc already, and where mechanism=kernel asks for it";
  return {kernel, userland};
}

}  // namespace

const FaultType network_delay{
    .name = "network.delay",
    .sentence = "delays packets, as a long or crowded path would",
    .parameters = &Describe<NetworkDelay>::object(),
    .aims = {"interface", "exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup", "container", "user"},
    .lasting = true,
    .ramps = true,
    .undo = "the rules that pick the packets go first, so that packets pass at once; those that wait are let go in order, none is lost",
    .examples = {"delay=80ms --on listens_on=6379 --for 30s", "delay=100ms jitter=20ms direction=both to=10.0.0.0/8 --on interface=eth0 --for 1m",
                 "delay=80ms port=6379 --on interface=lo --for 30s"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
