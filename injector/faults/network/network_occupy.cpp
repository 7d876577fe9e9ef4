// network.occupy: a port that a service wants is taken.
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/network/ports_fault.hpp"

namespace squall {

namespace faults {

struct NetworkOccupy {
  std::vector<std::uint16_t> port;
  PortProtocol protocol = PortProtocol::tcp;
};

}  // namespace faults

template <>
struct Describe<faults::NetworkOccupy> {
  static const Object<faults::NetworkOccupy>& object() {
    using faults::NetworkOccupy;
    static const auto schema =
        Object<NetworkOccupy>{"a port is taken"}
            .required("port", &NetworkOccupy::port, "that nobody else can listen on; it must be free")
            .optional("protocol", &NetworkOccupy::protocol, "tcp or udp", "tcp")
            .rule([](const NetworkOccupy& with, const Value& value, Diagnostics& diagnostics) {
              faults::no_port_of_zero(with.port, value, diagnostics);
            });
    return schema;
  }
};

namespace faults {
namespace {

class Occupy : public PortsFault {
 public:
  Occupy(const NetworkOccupy& with, NetworkPlace place)
      : PortsFault(with.protocol, std::move(place)), ports_(with.port) {}

  std::vector<std::string> targets() const override {
    return {fmt::format("{} port {} of {}", enum_text(protocol_), fmt::join(ports_, " and "), place_.name)};
  }
  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto port : ports_)
      out.push_back(fmt::format("{} port {} of {}", enum_text(protocol_), port, place_.network_namespace));
    return out;
  }
  std::vector<std::string> limits() const override {
    return {"who finds the port taken is not seen, and connections to it are refused as before"};
  }

  void apply(Transaction& transaction) override {
    auto take = change(fmt::format("bind a socket to {}", targets().front()));
    take.act = [this] {
      in_place([&] {
        for (auto port : ports_)
          if (const int error = held_.hold(protocol_, port)) {
            held_.give_back();
            throw std::runtime_error(
                fmt::format("take {} port {}: {}", enum_text(protocol_), port,
                            error == EADDRINUSE ? "somebody has it" : std::strerror(error)));
          }
      });
    };
    transaction.add(std::move(take));
  }

  Dose look() override {
    Dose out;
    out.prescribed = {{"ports", ports_.size()}};
    std::size_t taken = 0;
    if (held_.count())
      in_place([&] {
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

std::unique_ptr<Fault> prepare_occupy(const Value& value, const TargetSpec& on, const Setting& setting,
                                      Diagnostics& diagnostics) {
  NetworkOccupy with;
  if (!Codec<NetworkOccupy>::decode(value, with, diagnostics)) return nullptr;
  auto place = place_of_ports(on, setting, diagnostics);
  if (!place) return nullptr;
  return std::make_unique<Occupy>(with, std::move(*place));
}

std::vector<Capability> doctor() {
  return {ports_by_sockets("")};
}

}  // namespace

extern const FaultType network_occupy;
const FaultType network_occupy{
    .name = "network.occupy",
    .sentence = "takes a port, so that a service that starts again cannot listen on it",
    .parameters = &Describe<NetworkOccupy>::object(),
    .aims = aims_of_ports(),
    .lasting = true,
    .undo = "the sockets are closed, by the end of the injector at the latest",
    .examples = {"port=18080 --on interface=any --for 1m"},
    .prepare = prepare_occupy,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
