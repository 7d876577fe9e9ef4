// network.mtu: a device carries smaller packets.
#include <fmt/format.h>

#include "injector/faults/aim/network_device.hpp"
#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/packets/device_probe.hpp"

namespace squall::faults {
namespace {

constexpr std::uint32_t ipv6_needs = 1280, largest_ipv4 = 65'535;

struct NetworkMtu {
  std::uint32_t mtu = 0;
};
const auto parameters =
    Object<NetworkMtu>{"a device carries smaller packets"}
        .required("mtu", &NetworkMtu::mtu,
                  "bytes of the largest packet, fewer than now; with IPv6 on the device at least 1280, below "
                  "which the kernel takes IPv6 away from it (RFC 8200, 5)")
        .between(&NetworkMtu::mtu, 68U, 65'536U);

struct Smaller {
  std::uint32_t mtu = 0;
  AimedDevice device;
  std::uint32_t largest = 0;  // as it was seen last
  std::uint64_t looks = 0;
};

void refuse_what_shrinks_with_it(const Smaller& fault, const Target& target) {
  const auto& state = fault.device.state;
  const auto& link = state.link;
  const auto refuse_loss = [&](const links::Link& of) {
    if (fault.mtu < ipv6_needs && state.tables.with_ipv6.contains(of.index))
      target.refuse("mtu", fmt::format("{} has IPv6 addresses, which the kernel takes away, with all "
                                       "settings of IPv6 on it, below an MTU of {}{}",
                                       of.name, ipv6_needs,
                                       of.index == link.index
                                           ? ""
                                           : fmt::format(", and it gets no larger one than {}", link.name)));
  };
  refuse_loss(link);
  for (auto& upper : state.uppers)
    if (upper.shrinks && upper.link.mtu > fault.mtu) refuse_loss(upper.link);
  for (auto& upper : fault.device.uppers_elsewhere)
    if (links::shrinks_with_lower(upper.link) && upper.link.mtu > fault.mtu)
      target.refuse("", fmt::format("{} in the network namespace {} stands on {}: its MTU would be made "
                                    "smaller as well, and is not ours to bring back",
                                    upper.link.name, upper.network_namespace, link.name));
}

Smaller prepare(const NetworkMtu& with, Target& target) {
  Smaller fault{with.mtu, target.device()};
  const auto& [link, uppers] = std::tie(fault.device.state.link, fault.device.state.uppers);
  if (with.mtu >= link.mtu)
    target.refuse("mtu",
                  fmt::format("{} has an MTU of {} already: {} is no smaller, and would keep no packet back",
                              link.name, link.mtu, with.mtu));
  refuse_what_shrinks_with_it(fault, target);
  target.name(fmt::format("{}, whose MTU is {}", fault.device.to_string(), link.mtu));
  for (auto& upper : uppers)
    if (upper.shrinks && upper.link.mtu > with.mtu)
      target.name(fmt::format("{}, which stands on it and has {}", upper.link.name, upper.link.mtu));
  target.claim({.resource = "the MTU of the device",
                .scope = fmt::format("{} of {}", link.name, fault.device.place.network_namespace)});
  target.caveat(
      "whether larger packets arrived is not measured: what they do depends on the other side and the way "
      "there");
  return fault;
}

void apply(Smaller& fault, Transaction& host) {
  fault.device.look_again();
  auto& device = fault.device;
  device.change(host, fmt::format("set the MTU of {} to {}", device.to_string(), fault.mtu),
                links::mtu_again(device.state, fault.mtu, device.place.network_namespace, device.hint()),
                [&] { links::set_mtu(device.state.link.index, fault.mtu); });
}

void measure(Smaller& fault, Dose& dose) {
  if (fault.device.place.watch.device_gone().empty()) {
    fault.device.in_place(
        [&] { fault.largest = links::largest_packet_by(fault.device.state.link, fault.mtu); });
    ++fault.looks;
  }
  dose.expect("mtu", fault.mtu, fault.largest == largest_ipv4 ? fault.mtu : fault.largest);
  dose.samples = fault.looks;
  dose = fault.device.place.watch.in_view(std::move(dose));
}

}  // namespace

extern const FaultType network_mtu;
const FaultType network_mtu = fault<NetworkMtu, Smaller>({
    .info = {.name = "network.mtu",
             .sentence =
                 "lets a network device carry smaller packets only, as a wrong tunnel or switch would",
             .aims = device_aims(),
             .undo = "the MTU of the device, and of those that stand on it, is set to what it was, unless "
                     "somebody changed it meanwhile",
             .examples = {"mtu=1300 --on interface=eth1 --for 1m"},
             .mechanism = device_mechanism,
             .measures = "the largest packet of our own that the kernel lets out by the device, without one "
                         "being sent; not what larger ones of others meet, nor what arrives",
             .missing = needs_network_admin},
    .parameters = &parameters,
    .does = {prepare, apply, measure},
    .events = [](Smaller& fault) { return fault.device.place.watch.events(); },
});

}  // namespace squall::faults
