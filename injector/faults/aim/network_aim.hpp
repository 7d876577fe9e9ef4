// From what a network fault is aimed at to the devices, packets and sockets of this host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "injector/faults/aim/aim_watch.hpp"
#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/aim/newcomers.hpp"
#include "injector/faults/aim/process_aim.hpp"
#include "injector/faults/dose/target_traffic.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/connections/passers_by.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/rules/detour_rules.hpp"

namespace squall::faults {

// The devices are those of the processes' network namespace.
struct NetworkAim : ProcessAim {
  bool every_device = false;
  std::vector<links::Link> devices;
  std::string master;  // the bridge or bond that the device aimed at belongs to, as which its arriving
                       // packets are seen
  Direction direction = Direction::out;
  PacketMatch match;                      // of either direction: the peer's side is set by `matching`
  std::optional<std::uint16_t> own_port;  // a listener's
  std::vector<std::string> targets;
  std::shared_ptr<AimWatch> watch;
  std::shared_ptr<TargetTraffic> traffic;  // of processes or a listener; else nullptr
  std::shared_ptr<PassersBy> passers_by;
  std::shared_ptr<Newcomers> newcomers;  // where every device is meant and rules are each device's own

  // The packets of one direction on the loopback device or on others. Both directions of a conversation pass
  // the loopback device as leaving packets, so there a port tells them apart: out is towards it.
  PacketMatch matching(Direction, bool loopback) const;
  bool includes_loopback() const;
  // "packets of eth0 out to port 6379"
  std::vector<std::string> claims() const;
  Reach reach() const;
};

// Reports what is wrong and returns nothing.
std::optional<NetworkAim> aim_at_network(const NetworkPackets&, const TargetSpec&, const Setting&,
                                         Diagnostics&);

// Names what a fault makes ("sq1a2b3c4d1") so that two steps of a session, and two sessions, never collide.
std::string own_name(const Setting&);

// Reports where the packets that are meant arrive by the device's master, so that our queue and INPUT do not
// tell them.
bool sees_what_arrives(const NetworkAim&, Diagnostics&);
// The points where our own queue takes packets: of what leaves, only Ethernet frames.
std::vector<HoldPoint> hold_points(const NetworkAim&, bool ethernet_only = true);
// The points where packets are dropped; `told`: where their sender learns of it.
std::vector<HoldPoint> drop_points(const NetworkAim&, bool told);
// By which of its segments the share of a target is counted.
CountedBy counted_by(Direction);
bool marks_senders(const NetworkAim&);
// The connections that are meant, of processes, a listener, or everybody there.
MeantConnections connections_of(const NetworkAim&);
// Why packets that came are nobody's traffic: all of them went to groups, and none was asked for; "" where
// some were not.
std::string only_chatter(const NetworkAim&, const EndpointSet& came);
// A dose is not verified where what it was aimed at went, or runs on without it, or went by it for the most
// part; where nothing was hit for a while, it says what went by. `met_at_least`: what the fault knows itself
// to have met, in the unit of its traffic.
Dose in_view_of(const NetworkAim&, Dose, std::uint64_t met_at_least = 0);
// From now on devices that come up are looked for. `both`: neither direction of theirs is hit.
void expect_no_newcomers(NetworkAim&, bool both, Newcomers::Hit = {});
std::vector<FaultEvent> events_of(const NetworkAim&);

}  // namespace squall::faults
