// network.occupy and network.exhaust_ports: ports that services and clients want are taken.
#include <cstring>

#include <net/if.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/fault.hpp"
#include "injector/faults/network_packets.hpp"
#include "injector/faults/network_place.hpp"
#include "injector/host/descriptor_limit.hpp"
#include "injector/host/held_ports.hpp"
#include "injector/host/network_namespace.hpp"

namespace squall {

namespace faults {

struct NetworkOccupy {
  std::vector<std::uint16_t> port;
  PortProtocol protocol = PortProtocol::tcp;
};

struct NetworkExhaustPorts {
  PortProtocol protocol = PortProtocol::tcp;
  std::uint16_t leave = 0;
};

}  // namespace faults

template <>
struct EnumNames<PortProtocol> {
  using P = PortProtocol;
  static constexpr std::array<std::pair<std::string_view, P>, 2> names{{{"tcp", P::tcp}, {"udp", P::udp}}};
};

template <>
struct Describe<faults::NetworkOccupy> {
  static const Object<faults::NetworkOccupy>& object() {
    using faults::NetworkOccupy;
    static const auto schema = Object<NetworkOccupy>{"a port is taken"}
                                   .required("port", &NetworkOccupy::port, "that nobody else can listen on; it must be free")
                                   .optional("protocol", &NetworkOccupy::protocol, "tcp or udp", "tcp")
                                   .rule([](const NetworkOccupy& with, const Value& value, Diagnostics& diagnostics) { faults::no_port_of_zero(with.port, value, diagnostics); });
    return schema;
  }
};

template <>
struct Describe<faults::NetworkExhaustPorts> {
  static const Object<faults::NetworkExhaustPorts>& object() {
    using faults::NetworkExhaustPorts;
    static const auto schema = Object<NetworkExhaustPorts>{"ephemeral ports run out"}
                                   .optional("protocol", &NetworkExhaustPorts::protocol, "tcp or udp", "tcp")
                                   .optional("leave", &NetworkExhaustPorts::leave, "so many of the range stay free, the last ones", "0");
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::string_view mechanism_name = "sockets bound to the ports";

std::optional<NetworkPlace> place_of_ports(const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  if (!on.interface || *on.interface == "any") return find_place(on, setting, diagnostics);
  diagnostics.error({}, "ports are of all interfaces: aim at interface any, or at a process for its network namespace");
  return {};
}

class PortsFault : public Fault {
 public:
  PortsFault(PortProtocol protocol, NetworkPlace place) : protocol_(protocol), place_(std::move(place)) {}
  std::string mechanism() const override { return std::string(mechanism_name); }
  // A port is missed by whatever device somebody would have come.
  Reach reach() const override { return place_.reach({}); }

  // Once the sockets are closed there is nothing more to see.
  void stopping() override {
    measure();
    stopped_ = true;
  }
  Dose measure() override {
    if (!stopped_) in_network_namespace_if_there(place_.network_namespace, place_.pid, [&] { last_ = look(); });
    return place_.watch.in_view(last_);
  }
  std::vector<FaultEvent> events() override { return place_.watch.events(); }

 protected:
  virtual Dose look() = 0;
  void in_place(const std::function<void()>& act) const { in_network_namespace(place_.network_namespace, place_.pid, act); }
  Change change(std::string what) {
    Change out;
    out.what = std::move(what);
    out.undo_note = "the sockets are closed, with this process at the latest";
    out.release = [this] {
      held_.give_back();
      return Undone{};
    };
    return out;
  }

  PortProtocol protocol_;
  NetworkPlace place_;
  HeldPorts held_;

 private:
  Dose last_;
  bool stopped_ = false;
};

class Occupy : public PortsFault {
 public:
  Occupy(const NetworkOccupy& with, NetworkPlace place) : PortsFault(with.protocol, std::move(place)), ports_(with.port) {}

  std::vector<std::string> targets() const override { return {fmt::format("{} port {} of {}", enum_text(protocol_), fmt::join(ports_, " and "), place_.name)}; }
  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto port : ports_) out.push_back(fmt::format("{} port {} of {}", enum_text(protocol_), port, place_.network_namespace));
    return out;
  }
  std::vector<std::string> limits() const override { return {"who finds the port taken is not seen, and connections to it are refused as before"}; }

  void apply(Transaction& transaction) override {
    auto take = change(fmt::format("bind a socket to {}", targets().front()));
    take.act = [this] {
      in_place([&] {
        for (auto port : ports_)
          if (const int error = held_.hold(protocol_, port)) {
            held_.give_back();
            throw std::runtime_error(fmt::format("take {} port {}: {}", enum_text(protocol_), port, error == EADDRINUSE ? "somebody has it" : std::strerror(error)));
          }
      });
    };
    transaction.add(std::move(take));
  }

  Dose look() override {
    Dose out;
    out.prescribed = {{"ports", ports_.size()}};
    std::size_t taken = 0;
    if (held_.count()) in_place([&] {
      for (auto port : ports_) {
        HeldPorts attempt;
        taken += attempt.hold(protocol_, port) == EADDRINUSE;
      }
    });
    out.measured = {{"ports", taken}};
    out.samples = taken;
    out.verified = taken == ports_.size();
    if (!out.verified) out.reason = "somebody else could bind to a port";
    return out;
  }

 private:
  std::vector<std::uint16_t> ports_;
};

std::size_t count_of(const PortRange& range) { return static_cast<std::size_t>(range.last - range.first) + 1; }

// A port takes a descriptor. "" where there is room for them all.
std::string refused_for(std::size_t wanted) {
  const auto room = make_room_for_descriptors(wanted);
  if (room >= wanted) return "";
  return fmt::format("{} ports are to be held, and the injector may have descriptors for {} more, as it lacks CAP_SYS_RESOURCE: raise its hard limit of open files by {} (LimitNOFILE= of a systemd unit, --ulimit nofile= of a "
                     "container, nofile in limits.conf), or narrow net.ipv4.ip_local_port_range",
                     wanted, room, wanted - room);
}

class ExhaustPorts : public PortsFault {
 public:
  ExhaustPorts(const NetworkExhaustPorts& with, NetworkPlace place) : PortsFault(with.protocol, std::move(place)), leave_(with.leave) {
    in_place([&] { range_ = ephemeral_ports(); });
    const auto all = count_of(range_);
    wanted_ = all > leave_ ? all - leave_ : 0;
  }

  // Why they cannot all be held; "" where they can.
  std::string refused() const { return refused_for(wanted_); }

  std::vector<std::string> targets() const override {
    return {fmt::format("{} ports {} to {} of {}{}", enum_text(protocol_), range_.first, range_.last, place_.name, leave_ ? fmt::format(", but {}", leave_) : "")};
  }
  std::vector<std::string> claims() const override { return {fmt::format("ephemeral {} ports of {}", enum_text(protocol_), place_.network_namespace)}; }
  std::vector<std::string> limits() const override {
    return {"whoever chooses a port itself, outside this range, is not hit", "a port that a connection has already can be used again towards another peer",
            "who finds no port is not seen; Squall's own new connections from this host find none either"};
  }

  void apply(Transaction& transaction) override {
    auto take = change(fmt::format("bind sockets to {}", targets().front()));
    take.act = [this] {
      if (auto why = refused(); !why.empty()) throw std::runtime_error(why);
      in_place([&] { take_all(); });
    };
    transaction.add(std::move(take));
  }

  Dose look() override {
    Dose out;
    out.prescribed = {{"ports", wanted_}};
    out.measured = {{"ports", held_.count()}, {"ports_in_use_before", in_use_}};
    out.samples = held_.count();
    bool one_left = true;
    if (held_.count()) in_place([&] { one_left = finds_a_port(protocol_); });
    out.measured["ports_left"] = one_left;
    out.verified = held_.count() > 0 && held_.count() + in_use_ >= wanted_ && (leave_ > 0 || !one_left);
    if (!out.verified) out.reason = one_left && !leave_ ? "the kernel still finds a port for who asks" : fmt::format("{} of {} ports could be had", held_.count(), wanted_);
    return out;
  }

 private:
  void take_all() {
    for (std::size_t i = 0; i < wanted_; ++i) {
      const int error = held_.hold(protocol_, static_cast<std::uint16_t>(range_.first + i));
      if (!error) continue;
      if (error != EADDRINUSE) {
        held_.give_back();
        throw std::runtime_error(fmt::format("bind to port {}: {}", range_.first + i, std::strerror(error)));
      }
      ++in_use_;
    }
  }

  std::uint16_t leave_;
  PortRange range_;
  std::size_t wanted_ = 0, in_use_ = 0;
};

std::unique_ptr<Fault> prepare_occupy(const Value& value, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  NetworkOccupy with;
  if (!Codec<NetworkOccupy>::decode(value, with, diagnostics)) return nullptr;
  auto place = place_of_ports(on, setting, diagnostics);
  if (!place) return nullptr;
  return std::make_unique<Occupy>(with, std::move(*place));
}

std::unique_ptr<Fault> prepare_exhaust(const Value& value, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  NetworkExhaustPorts with;
  if (!Codec<NetworkExhaustPorts>::decode(value, with, diagnostics)) return nullptr;
  auto place = place_of_ports(on, setting, diagnostics);
  if (!place) return nullptr;
  auto out = std::make_unique<ExhaustPorts>(with, std::move(*place));
  if (auto why = out->refused(); !why.empty()) {
    diagnostics.error({}, std::move(why));
    return nullptr;
  }
  return out;
}

Capability by_sockets(std::string missing) {
  const bool possible = missing.empty();
  return {.mechanism = std::string(mechanism_name), .possible = possible, .chosen = possible, .missing = std::move(missing), .note = "", .measures = "whether anybody else could have the ports; not who wanted them"};
}

std::vector<Capability> doctor() { return {by_sockets("")}; }
std::vector<Capability> doctor_of_all() { return {by_sockets(refused_for(count_of(ephemeral_ports())))}; }

const std::vector<std::string>& aims() {
  static const std::vector<std::string> out{"interface", "exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup", "container", "user"};
  return out;
}

}  // namespace

extern const FaultType network_occupy, network_exhaust_ports;
const FaultType network_occupy{
    .name = "network.occupy",
    .sentence = "takes a port, so that a service that starts again cannot listen on it",
    .parameters = &Describe<NetworkOccupy>::object(),
    .aims = aims(),
    .lasting = true,
    .undo = "the sockets are closed, by the end of the injector at the latest",
    .examples = {"port=18080 --on interface=any --for 1m"},
    .prepare = prepare_occupy,
    .doctor = doctor,
};
const FaultType network_exhaust_ports{
    .name = "network.exhaust_ports",
    .sentence = "takes all ephemeral ports, so that nobody finds one for a new connection",
    .parameters = &Describe<NetworkExhaustPorts>::object(),
    .aims = aims(),
    .lasting = true,
    .undo = "the sockets are closed, by the end of the injector at the latest",
    .examples = {"--on interface=any --for 30s", "protocol=udp leave=10 --on interface=any --for 30s"},
    .prepare = prepare_exhaust,
    .doctor = doctor_of_all,
};

}  // namespace faults
}  // namespace squall
