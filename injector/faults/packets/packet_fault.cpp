#include "injector/faults/packets/packet_fault.hpp"

#include <fmt/format.h>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/faults/packets/packets_by_netem.hpp"
#include "injector/faults/packets/packets_by_queue.hpp"

namespace squall::faults {

std::unique_ptr<Fault> packet_fault(const Impairment& what, const NetworkPackets& packets, const Value& with,
                                    const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  auto aim = aim_at_network(packets, on, setting, diagnostics);
  if (!aim) return nullptr;
  if (packets.mechanism != PacketMechanism::userland) {
    const auto why = netem_cannot(what, *aim);
    // Coming and going must harm nobody, and putting clsact on a device does: then our own queue is better;
    // and where others decide before us, it sees more.
    const bool better = needs_clsact(*aim).empty() && !others_classify(*aim);
    const bool only =
        !queue_capability().possible || (!aim->master.empty() && aim->direction != Direction::out);
    if (why.empty() && (better || only || packets.mechanism))
      return packets_by_netem(what, std::move(*aim), setting, diagnostics);
    if (packets.mechanism == PacketMechanism::kernel) {
      diagnostics.error(place_of(with, "mechanism"),
                        fmt::format("the kernel's own mechanism cannot be had: {}", why));
      return nullptr;
    }
  }
  return packets_by_queue(what, std::move(*aim), setting, diagnostics);
}

std::vector<Capability> packet_fault_doctor() {
  auto kernel = netem_capability(), userland = queue_capability();
  userland.chosen = userland.possible;
  kernel.chosen = kernel.possible && !userland.possible;
  if (kernel.possible && userland.possible)
    kernel.note =
        "used where the device has a clsact qdisc already and nobody filters there, and where "
        "mechanism=kernel asks for it";
  return {kernel, userland};
}

const std::vector<std::string>& packet_aims() {
  static const std::vector<std::string> aims{"interface", "exe",  "command", "listens_on", "pid",
                                             "pidfile",   "unit", "cgroup",  "container",  "user"};
  return aims;
}

}  // namespace squall::faults
