// network.exhaust_ports: the ports of which clients get one for a new connection run out.
#include <cstring>

#include <fmt/format.h>

#include "injector/faults/network/ports_fault.hpp"
#include "injector/system/descriptor_limit.hpp"

namespace squall {

namespace faults {

struct NetworkExhaustPorts {
  PortProtocol protocol = PortProtocol::tcp;
  std::uint16_t leave = 0;
};

}  // namespace faults

template <>
struct Describe<faults::NetworkExhaustPorts> {
  static const Object<faults::NetworkExhaustPorts>& object() {
    using faults::NetworkExhaustPorts;
    static const auto schema = Object<NetworkExhaustPorts>{"ephemeral ports run out"}
                                   .optional("protocol", &NetworkExhaustPorts::protocol, "tcp or udp", "tcp")
                                   .optional("leave", &NetworkExhaustPorts::leave,
                                             "so many of the range stay free, the last ones", "0");
    return schema;
  }
};

namespace faults {
namespace {

std::size_t count_of(const PortRange& range) {
  return static_cast<std::size_t>(range.last - range.first) + 1;
}

// A port takes a descriptor. "" where there is room for them all.
std::string refused_for(std::size_t wanted) {
  const auto room = make_room_for_descriptors(wanted);
  if (room >= wanted) return "";
  return fmt::format(
      "{} ports are to be held, and the injector may have descriptors for {} more, as it lacks "
      "CAP_SYS_RESOURCE: raise its hard limit of open files by {} (LimitNOFILE= of a systemd unit, --ulimit "
      "nofile= of a "
      "container, nofile in limits.conf), or narrow net.ipv4.ip_local_port_range",
      wanted, room, wanted - room);
}

class ExhaustPorts : public PortsFault {
 public:
  ExhaustPorts(const NetworkExhaustPorts& with, NetworkPlace place)
      : PortsFault(with.protocol, std::move(place)), leave_(with.leave) {
    in_place([&] { range_ = ephemeral_ports(); });
    const auto all = count_of(range_);
    wanted_ = all > leave_ ? all - leave_ : 0;
  }

  // Why they cannot all be held; "" where they can.
  std::string refused() const { return refused_for(wanted_); }

  std::vector<std::string> targets() const override {
    return {fmt::format("{} ports {} to {} of {}{}", enum_text(protocol_), range_.first, range_.last,
                        place_.name, leave_ ? fmt::format(", but {}", leave_) : "")};
  }
  std::vector<std::string> claims() const override {
    return {fmt::format("ephemeral {} ports of {}", enum_text(protocol_), place_.network_namespace)};
  }
  std::vector<std::string> limits() const override {
    std::vector<std::string> out{
        "whoever chooses a port itself, outside this range, is not hit; nor are connections that there are "
        "already",
        "who finds no port is not seen; Squall's own new connections from this host find none either"};
    if (leave_) out.emplace_back("a port that is left can be used by one connection to each peer");
    if (protocol_ == PortProtocol::tcp)
      out.emplace_back(
          "a port that a connection has while this begins is taken beside it: before Linux 6.18 it stays "
          "that connection's alone until that ends");
    return out;
  }

  void apply(Transaction& transaction) override {
    auto take = change(fmt::format("bind sockets to {}", targets().front()));
    take.act = [this] {
      if (auto why = refused(); !why.empty()) throw std::runtime_error(why);
      in_place([&] {
        take_all();
        begun_before_ = connections_begun();
      });
    };
    transaction.add(std::move(take));
  }

  Dose look() override {
    Dose out;
    ConnectAttempts attempts;
    bool one_left = true;
    if (held_.count()) {
      take_given_back();
      one_left = finds_a_port(protocol_);
      attempts = try_to_connect(protocol_);
      own_ += protocol_ == PortProtocol::tcp ? attempts.found : 0;
      begun_ = connections_begun() - begun_before_;
    }
    out.prescribed = {{"ports", wanted_}};
    out.measured = {{"ports", held_.count()},
                    {"ports_shared_with_connections", beside_},
                    {"ports_of_others", theirs_.size()},
                    {"ports_left", one_left || attempts.found > 0}};
    out.samples = held_.count();
    out.reason = doubt(one_left, attempts);
    out.verified = out.reason.empty();
    if (protocol_ == PortProtocol::tcp) out.shares.push_back(share());
    return out;
  }

 private:
  // Why nobody finding a port is not so, as whoever connects sees it.
  std::string doubt(bool one_left, const ConnectAttempts& attempts) const {
    if (!held_.count()) return "no port is held";
    if (held_.count() + theirs_.size() < wanted_)
      return fmt::format("{} of {} ports could be had", held_.count(), wanted_);
    if (leave_) return "";
    if (attempts.found)
      return fmt::format(
          "the kernel still finds a port for who connects: {} of {} attempts to different peers had one",
          attempts.found, attempts.found + attempts.none);
    if (one_left) return "the kernel still finds a port for who asks";
    if (!attempts.none)
      return fmt::format("whether who connects finds a port could not be tried: {}",
                         std::strerror(attempts.other_error));
    return "";
  }

  // The kernel counts connections that were begun, and not those for which no port was found.
  Share share() const {
    Share out;
    out.of = "connections begun";
    const auto made = begun_ > own_ ? begun_ - own_ : 0;
    out.unknown = fmt::format("who found no port is in no count of the kernel's; {} found one{}",
                              made == 0   ? "nobody"
                              : made == 1 ? "one connection"
                                          : fmt::format("{} connections", made),
                              made == 0 ? ""
                              : leave_  ? ", of those that are left or one they chose themselves"
                                        : " that they chose themselves");
    return out;
  }

  // Where somebody has the port already: a connection, beside which it can be taken, or who is bound to it
  // and gives it to nobody.
  bool take(std::uint16_t port) {
    int error = held_.hold(protocol_, port);
    if (error == EADDRINUSE && protocol_ == PortProtocol::tcp) {
      error = held_.hold_beside(port);
      beside_ += error == 0;
    }
    if (error && error != EADDRINUSE) {
      held_.give_back();
      throw std::runtime_error(fmt::format("bind to port {}: {}", port, std::strerror(error)));
    }
    return error == 0;
  }

  void take_all() {
    theirs_.clear();
    beside_ = own_ = 0;
    for (std::size_t i = 0; i < wanted_; ++i)
      if (const auto port = static_cast<std::uint16_t>(range_.first + i); !take(port))
        theirs_.push_back(port);
  }

  // Those that others had and closed meanwhile.
  void take_given_back() {
    std::erase_if(theirs_, [this](std::uint16_t port) { return held_.hold(protocol_, port) == 0; });
  }

  std::vector<std::uint16_t> theirs_;  // bound to by somebody else
  std::size_t beside_ = 0;
  std::uint64_t begun_before_ = 0, begun_ = 0, own_ = 0;
  std::uint16_t leave_;
  PortRange range_;
  std::size_t wanted_ = 0;
};

std::unique_ptr<Fault> prepare_exhaust(const Value& value, const TargetSpec& on, const Setting& setting,
                                       Diagnostics& diagnostics) {
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

std::vector<Capability> doctor() {
  return {ports_by_sockets(refused_for(count_of(ephemeral_ports())))};
}

}  // namespace

extern const FaultType network_exhaust_ports;
const FaultType network_exhaust_ports{
    .name = "network.exhaust_ports",
    .sentence = "takes all ephemeral ports, so that nobody finds one for a new connection",
    .parameters = &Describe<NetworkExhaustPorts>::object(),
    .aims = aims_of_ports(),
    .lasting = true,
    .undo = "the sockets are closed, by the end of the injector at the latest",
    .examples = {"--on interface=any --for 30s", "protocol=udp leave=10 --on interface=any --for 30s"},
    .prepare = prepare_exhaust,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
