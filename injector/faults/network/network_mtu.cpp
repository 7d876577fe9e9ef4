// network.mtu: a device carries smaller packets.
#include <unistd.h>

#include <fmt/format.h>

#include "injector/faults/aim/network_device.hpp"
#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/packets/device_probe.hpp"

namespace squall {

namespace faults {

struct NetworkMtu {
  std::uint32_t mtu = 0;
};

}  // namespace faults

template <>
struct Describe<faults::NetworkMtu> {
  static const Object<faults::NetworkMtu>& object() {
    using faults::NetworkMtu;
    static const auto schema =
        Object<NetworkMtu>{"a device carries smaller packets"}
            .required("mtu", &NetworkMtu::mtu,
                      "bytes of the largest packet, fewer than now; with IPv6 on the device at least 1280, "
                      "below which the kernel takes IPv6 away from it (RFC 8200, 5)")
            .between(&NetworkMtu::mtu, 68U, 65'536U);
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::uint32_t ipv6_needs = 1280;
constexpr std::uint32_t largest_ipv4 = 65'535;

class Mtu : public Fault {
 public:
  Mtu(const NetworkMtu& with, AimedDevice device) : with_(with), device_(std::move(device)) {}

  std::string mechanism() const override { return std::string(device_mechanism); }
  std::vector<std::string> targets() const override {
    std::vector<std::string> out{
        fmt::format("{}, whose MTU is {}", device_.to_string(), device_.state.link.mtu)};
    for (auto& upper : device_.state.uppers)
      if (upper.shrinks && upper.link.mtu > with_.mtu)
        out.push_back(fmt::format("{}, which stands on it and has {}", upper.link.name, upper.link.mtu));
    return out;
  }
  Reach reach() const override { return device_.place.reach({device_.state.link.index}); }
  std::vector<std::string> claims() const override {
    return {fmt::format("the MTU of the device {} of {}", device_.state.link.name,
                        device_.place.network_namespace)};
  }
  std::vector<std::string> limits() const override {
    return {
        "whether larger packets arrived is not measured: what they do depends on the other side and the way "
        "there"};
  }

  void apply(Transaction& transaction) override {
    device_.look_again();
    Change change;
    change.what = fmt::format("set the MTU of {} to {}", device_.to_string(), with_.mtu);
    change.inverse =
        links::mtu_again(device_.state, with_.mtu, device_.place.network_namespace, device_.hint());
    change.act = [this] { device_.in_place([&] { links::set_mtu(device_.state.link.index, with_.mtu); }); };
    transaction.add(std::move(change));
  }

  void stopping() override {
    look();
    stopped_ = true;
  }

  Dose measure() override {
    look();
    Dose out;
    out.prescribed = {{"mtu", with_.mtu}};
    out.measured = {{"mtu", largest_}};
    out.samples = looks_;
    out.verified = largest_ == std::min(with_.mtu, largest_ipv4);
    if (!out.verified)
      out.reason = largest_ ? "somebody else changed it" : "no packet can leave by it at all";
    return device_.place.watch.in_view(std::move(out));
  }

  std::vector<FaultEvent> events() override { return device_.place.watch.events(); }

 private:
  void look() {
    if (stopped_ || !device_.place.watch.device_gone().empty()) return;
    largest_ = 0;
    device_.in_place([&] { largest_ = links::largest_packet_by(device_.state.link, with_.mtu); });
    ++looks_;
  }

  NetworkMtu with_;
  AimedDevice device_;
  std::uint32_t largest_ = 0;
  std::uint64_t looks_ = 0;
  bool stopped_ = false;
};

// The name of a device that would lose IPv6; "" where none would.
std::string loses_ipv6(const links::InterfaceState& state, std::uint32_t mtu) {
  if (mtu >= ipv6_needs) return "";
  if (state.tables.with_ipv6.contains(state.link.index)) return state.link.name;
  for (auto& upper : state.uppers)
    if (upper.shrinks && upper.link.mtu > mtu && state.tables.with_ipv6.contains(upper.link.index))
      return upper.link.name;
  return "";
}

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  NetworkMtu with;
  if (!Codec<NetworkMtu>::decode(value, with, diagnostics)) return nullptr;
  auto device = find_device(on, setting, diagnostics);
  if (!device) return nullptr;
  if (const auto now = device->state.link.mtu; with.mtu >= now) {
    diagnostics.error(
        place_of(value, "mtu"),
        fmt::format("{} has an MTU of {} already: {} is no smaller, and would keep no packet back",
                    device->state.link.name, now, with.mtu));
    return nullptr;
  }
  if (const auto name = loses_ipv6(device->state, with.mtu); !name.empty()) {
    diagnostics.error(
        place_of(value, "mtu"),
        fmt::format("{} has IPv6 addresses, which the kernel takes away, with all settings of IPv6 on it, "
                    "below an MTU of {}{}",
                    name, ipv6_needs,
                    name == device->state.link.name
                        ? ""
                        : fmt::format(", and it gets no larger one than {}", device->state.link.name)));
    return nullptr;
  }
  for (auto& upper : device->uppers_elsewhere)
    if (links::shrinks_with_lower(upper.link) && upper.link.mtu > with.mtu) {
      diagnostics.error({}, fmt::format("{} in the network namespace {} stands on {}: its MTU would be made "
                                        "smaller as well, and is not ours to bring back",
                                        upper.link.name, upper.network_namespace, device->state.link.name));
      return nullptr;
    }
  return std::make_unique<Mtu>(with, std::move(*device));
}

std::vector<Capability> doctor() {
  return device_doctor(
      "the largest packet of our own that the kernel lets out by the device, without one being sent; not "
      "what larger ones of others meet, nor what arrives");
}

}  // namespace

extern const FaultType network_mtu;
const FaultType network_mtu{
    .name = "network.mtu",
    .sentence = "lets a network device carry smaller packets only, as a wrong tunnel or switch would",
    .parameters = &Describe<NetworkMtu>::object(),
    .aims = device_aims(),
    .lasting = true,
    .ramps = false,
    .undo =
        "the MTU of the device, and of those that stand on it, is set to what it was, unless somebody "
        "changed it meanwhile",
    .examples = {"mtu=1300 --on interface=eth1 --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
