#include "injector/faults/aim/network_aim.hpp"

#include <atomic>
#include <sstream>
#include <tuple>

#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/selected.hpp"
#include "injector/system/control_ports.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

bool contains(const std::vector<std::uint16_t>& ports, std::uint16_t port) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

bool match_packets(const NetworkPackets& with, NetworkAim& aim, Diagnostics& diagnostics) {
  for (auto [key, texts, into] : {std::tuple{"to", &with.to, &aim.match.peers},
                                  std::tuple{"except", &with.except, &aim.match.left_out}})
    for (auto& text : *texts) {
      auto peers = resolve_peers(text);
      if (!peers) {
        diagnostics.error({}, fmt::format("{}: {}", key, peers.error()));
        return false;
      }
      into->insert(into->end(), peers->begin(), peers->end());
    }
  if (!with.port.empty()) aim.match.ports.push_back({with.port, Side::either});
  aim.match.protocol = with.protocol;
  if (with.allow_isolation) return true;
  for (auto* text : {"169.254.169.254", "fd00:ec2::254"})
    if (auto address = parse_prefix(text);
        address &&
        std::find(aim.match.peers.begin(), aim.match.peers.end(), *address) == aim.match.peers.end())
      aim.match.exempt_peers.push_back(*address);
  for (auto& [port, why] : control_ports(aim.network_namespace)) {
    if (contains(with.port, port) || aim.own_port == port) continue;
    aim.match.exempt.push_back(port);
    if (!why.empty()) aim.limits.push_back(fmt::format("tcp port {} counts as ssh: {}", port, why));
  }
  return true;
}

bool aim_at_processes(const TargetSpec& on, const Setting& setting, NetworkAim& aim,
                      Diagnostics& diagnostics) {
  if (!on.selects_processes()) {
    find_namespace({}, aim, diagnostics);
    aim.watch = std::make_shared<AimWatch>(aim.network_namespace, aim.namespace_pid);
    return true;
  }
  auto selected = select_processes(on, setting);
  if (!selected) {
    diagnostics.error({}, selected.error());
    return false;
  }
  auto* processes = &selected->processes;
  // Whose socket it is only root can see; the port is enough to plan with.
  const bool unseen = processes->empty() && on.listens_on && ::geteuid() != 0;
  if (processes->empty() && !unseen) {
    diagnostics.error({}, none_selected(on, *selected));
    return false;
  }
  for (auto& process : *processes)
    aim.targets.push_back(process.to_string());
  if (!find_namespace(*processes, aim, diagnostics)) return false;
  aim.watch = std::make_shared<AimWatch>(aim.network_namespace, aim.namespace_pid);
  aim.watch->expect(on, *processes);
  for (auto& process : *processes)
    aim.pids.push_back(process.pid);
  if (!on.listens_on) {
    if (!recognise(*processes, own_name(setting), setting.permits, aim, diagnostics)) return false;
    if (!aim.alone)
      aim.watch->stands_on([processes = *processes, known = static_cast<const ProcessAim&>(aim)] {
        return moved_away(processes, known);
      });
    return true;
  }
  aim.own_port = on.listens_on;
  aim.limits.push_back(
      fmt::format("a listener is recognised by its port {} alone, not by its process", *on.listens_on));
  return true;
}

bool find_devices(const TargetSpec& on, NetworkAim& aim, Diagnostics& diagnostics) {
  std::vector<links::Link> all;
  try {
    in_network_namespace(aim.network_namespace, aim.namespace_pid, [&] { all = links::all(); });
  } catch (const std::exception& e) {
    diagnostics.error({}, e.what());
    return false;
  }
  const bool any = !on.interface || *on.interface == "any";
  aim.every_device = any;
  std::vector<std::string> names;
  for (auto& link : all) {
    names.push_back(link.name);
    // What belongs to a bridge or a bond passes that as well, where it is delayed.
    if (any ? link.up && !link.master : link.name == *on.interface) aim.devices.push_back(link);
  }
  // A VRF shows PREROUTING the packet of its port first.
  for (auto& link : all)
    if (!any && !aim.devices.empty() && link.index == aim.devices.front().master && link.kind != "vrf")
      aim.master = link.name;
  if (!aim.devices.empty()) return true;
  if (!any)
    diagnostics.error({}, fmt::format("no interface is called \"{}\"; there are {}, and any for all of them",
                                      *on.interface, fmt::join(names, ", ")));
  else
    diagnostics.error({}, "no interface is up");
  return false;
}

void tell_targets(NetworkAim& aim) {
  const auto match =
      to_string(aim.matching(aim.direction, aim.devices.size() == 1 && aim.devices.front().loopback));
  std::vector<std::string> names;
  for (auto& device : aim.devices)
    names.push_back(device.name);
  aim.targets.push_back(
      fmt::format("packets {} {}{}{}",
                  aim.direction == Direction::out  ? "leaving by"
                  : aim.direction == Direction::in ? "arriving by"
                                                   : "leaving and arriving by",
                  aim.every_device ? "any interface" : fmt::format("{}", fmt::join(names, ", ")),
                  match.empty() ? "" : ": ", match));
  if (!aim.match.exempt.empty())
    aim.limits.push_back(fmt::format("tcp port {} (ssh, which carries control) is not touched",
                                     fmt::join(aim.match.exempt, " and ")));
  std::vector<std::string> metadata;
  for (auto& spared : aim.match.exempt_peers)
    if (aim.match.peers.empty() || std::any_of(aim.match.peers.begin(), aim.match.peers.end(),
                                               [&](auto& peer) { return peer.covers(spared); }))
      metadata.push_back(to_string(spared));
  if (!metadata.empty())
    aim.limits.push_back(
        fmt::format("the metadata address of clouds ({}) is not touched", fmt::join(metadata, ", ")));
  if (aim.match.protocol == Protocol::any && aim.match.ports.empty() && !aim.own_port)
    aim.limits.emplace_back("packets of ARP and IPv6 neighbour discovery are not touched");
  if (conversations::needed(aim.cgroups) && aim.direction != Direction::out)
    aim.limits.push_back(
        fmt::format("of arriving packets, TCP and UDP alone, those are recognised that answer what the "
                    "process has sent within the last {} s, and those to {}",
                    conversations::remembered_s,
                    aim.listeners.empty() ? "no port, since it listens on none"
                                          : "the ports that it listens on now, whoever else listens there"));
  if (!aim.includes_loopback() || !aim.cgroups.empty() || aim.own_port) return;
  if (aim.match.ports.empty())
    aim.limits.emplace_back(
        "on lo requests and answers both leave by the same device: a round trip is hit twice");
  else if (aim.direction != Direction::both)
    aim.limits.push_back(
        fmt::format("on lo {} the port: a round trip is hit once",
                    aim.direction == Direction::out ? "out means towards" : "in means coming from"));
}

}  // namespace

PacketMatch NetworkAim::matching(Direction which, bool loopback) const {
  auto out = match;
  const auto side = [&](Side leaving, Side arriving) {
    return which == Direction::out ? leaving : which == Direction::in ? arriving : Side::either;
  };
  out.peer = side(Side::destination, Side::source);
  if (loopback && cgroups.empty() && !own_port)
    for (auto& condition : out.ports)
      condition.side = side(Side::destination, Side::source);
  if (own_port) out.ports.push_back({{*own_port}, side(Side::source, Side::destination)});
  return out;
}

bool NetworkAim::includes_loopback() const {
  return std::any_of(devices.begin(), devices.end(), [](auto& device) { return device.loopback; });
}

Reach NetworkAim::reach() const {
  auto out = ProcessAim::reach();
  for (auto& device : devices)
    out.devices->indexes.push_back(device.index);
  out.devices->every = every_device;
  const auto *v4 = "127.0.0.0/8", *v6 = "::1";
  out.devices->loopback_alone =
      !match.peers.empty() && std::all_of(match.peers.begin(), match.peers.end(), [&](auto& peer) {
        return parse_prefix(v4)->covers(peer) || parse_prefix(v6)->covers(peer);
      });
  out.devices->port = own_port;
  return out;
}

std::vector<std::string> NetworkAim::claims() const {
  std::vector<std::string> out;
  for (auto& device : devices)
    for (auto one : {Direction::out, Direction::in}) {
      if (direction != Direction::both && direction != one) continue;
      // Whom one of them leaves alone does not part two that mean the same.
      auto meant = matching(one, device.loopback);
      meant.left_out.clear();
      const auto text = to_string(meant, true);
      auto claim = fmt::format("packets of {} {}", device.name, one == Direction::out ? "out" : "in");
      if (!text.empty()) claim += " " + text;
      for (auto& cgroup : cgroups)
        claim += " " + to_string(cgroup);
      if (namespace_pid) claim += fmt::format(" in the network namespace {}", network_namespace);
      out.push_back(std::move(claim));
    }
  return out;
}

std::string own_name(const Setting& setting) {
  static std::atomic<unsigned> count = 0;
  return fmt::format("sq{}{:x}", setting.session.empty() ? "0" : setting.session, ++count & 0xff);
}

CountedBy counted_by(Direction direction) {
  return direction == Direction::out  ? CountedBy::segments_out
         : direction == Direction::in ? CountedBy::segments_in
                                      : CountedBy::segments;
}

bool marks_senders(const NetworkAim& aim) {
  return !aim.cgroups.empty() && aim.direction != Direction::in;
}

std::vector<HoldPoint> hold_points(const NetworkAim& aim, bool ethernet_only) {
  using At = HoldPoint::At;
  std::vector<HoldPoint> out;
  const bool by_cgroup = !aim.cgroups.empty();
  const bool leaving = aim.direction != Direction::in, arriving = aim.direction != Direction::out;
  auto add = [&](At at, const links::Link* device, Direction direction, bool marked) -> HoldPoint& {
    HoldPoint point;
    point.at = at;
    point.interface = device ? device->index : 0;
    point.not_loopback = !device;
    if (at == At::leaving) point.device = device->name;
    if (at == At::delivered) {
      point.cgroups = aim.cgroups;
      point.listeners = aim.listeners;
    }
    point.marked = marked;
    point.match = aim.matching(direction, device && device->loopback);
    return out.emplace_back(std::move(point));
  };
  for (auto& device : aim.devices) {
    if (device.loopback) {
      if (!by_cgroup) add(At::arriving, &device, aim.direction, false);
      if (by_cgroup && leaving) add(At::arriving, &device, Direction::out, true);
      if (by_cgroup && arriving) add(At::delivered, &device, Direction::in, false);
      continue;
    }
    if (leaving && (device.ethernet || !ethernet_only)) add(At::leaving, &device, Direction::out, by_cgroup);
    if (arriving && !aim.every_device)
      add(by_cgroup ? At::delivered : At::arriving, &device, Direction::in, false);
  }
  if (arriving && aim.every_device)
    add(by_cgroup ? At::delivered : At::arriving, nullptr, Direction::in, false);
  return out;
}

bool sees_what_arrives(const NetworkAim& aim, Diagnostics& diagnostics) {
  if (aim.master.empty() || aim.direction == Direction::out) return true;
  const auto& device = aim.devices.front().name;
  diagnostics.error({}, fmt::format("what arrives by {} is taken by {} that it belongs to, and cannot be "
                                    "told there from what arrives by others: aim at its master {}",
                                    device, aim.master, aim.master));
  return false;
}

// Behind all that should have stopped them: what comes from these peers by whatever device.
std::optional<HoldPoint> watch_point(const NetworkAim& aim) {
  if (aim.direction == Direction::out || aim.match.peers.empty() || !aim.cgroups.empty()) return {};
  HoldPoint out;
  out.at = HoldPoint::At::delivered;
  out.not_loopback = true;
  out.match = aim.matching(Direction::in, false);
  out.watched = true;
  return out;
}

std::vector<HoldPoint> drop_points(const NetworkAim& aim, bool told) {
  auto out = hold_points(aim, false);
  const bool by_cgroup = !aim.cgroups.empty();
  if (!aim.master.empty() && !told && !by_cgroup)
    for (auto& point : out) {
      if (point.at != HoldPoint::At::arriving) continue;
      point.at = HoldPoint::At::entering;
      point.device = aim.devices.front().name;
    }
  if (auto watch = watch_point(aim)) out.push_back(*watch);
  if (!told) return out;
  const bool arriving_only = aim.direction == Direction::in;
  std::erase_if(out, [](auto& point) { return point.at == HoldPoint::At::leaving || point.marked; });
  for (auto& device : aim.devices) {
    if (arriving_only || (device.loopback && !by_cgroup)) continue;
    HoldPoint point;
    point.at = HoldPoint::At::sent;
    point.interface = device.index;
    point.cgroups = aim.cgroups;
    point.match = aim.matching(Direction::out, device.loopback);
    out.push_back(std::move(point));
  }
  return out;
}

std::optional<NetworkAim> aim_at_network(const NetworkPackets& with, const TargetSpec& on,
                                         const Setting& setting, Diagnostics& diagnostics) {
  NetworkAim aim;
  aim.direction = with.direction;
  if (!aim_at_processes(on, setting, aim, diagnostics) || !match_packets(with, aim, diagnostics) ||
      !find_devices(on, aim, diagnostics))
    return {};
  tell_targets(aim);
  // Of any interface, those that others take away are not missed.
  if (!aim.every_device) aim.watch->expect(aim.devices.front());
  if (on.selects_processes()) aim.traffic = std::make_shared<TargetTraffic>(connections_of(aim));
  std::vector<std::uint32_t> devices;
  if (!aim.every_device) devices.push_back(aim.devices.front().index);
  aim.passers_by = std::make_shared<PassersBy>(aim.network_namespace, aim.namespace_pid, std::move(devices),
                                               !aim.match.peers.empty());
  return aim;
}

MeantConnections connections_of(const NetworkAim& aim) {
  MeantConnections out;
  out.network_namespace = aim.network_namespace;
  out.namespace_pid = aim.namespace_pid;
  out.listener = aim.own_port;
  out.everybody = !aim.own_port && aim.cgroups.empty();
  out.pids = aim.pids;
  for (auto& [folder, id] : aim.cgroup_folders)
    out.cgroup_folders.push_back(folder);
  out.groups = aim.own_groups;
  out.cgroups = aim.cgroups;
  out.match = aim.match;
  if (!aim.every_device)
    for (auto& device : aim.devices)
      out.devices.push_back(device.index);
  return out;
}

std::string only_chatter(const NetworkAim& aim, const EndpointSet& came) {
  const bool asked_for = !aim.match.peers.empty() || !aim.match.ports.empty() || aim.own_port ||
                         aim.match.protocol != Protocol::any || !aim.cgroups.empty();
  if (asked_for || came.to_one() > 0 || came.to_groups() == 0) return "";
  return "nothing but packets to groups came (multicast or broadcast), as hosts send them unasked: nobody's "
         "traffic was hit";
}

namespace {
Dose with_who_went_by(const NetworkAim& aim, Dose dose) {
  constexpr std::int64_t a_while = 1'000'000'000;
  if (dose.verified || dose.samples) {
    aim.passers_by->stop();
    return dose;
  }
  if (aim.watch->age() > a_while) aim.passers_by->look();
  const auto seen = aim.passers_by->to_string();
  // "Nobody" would not be true.
  if (aim.own_port && dose.reason.find("nobody") != std::string::npos &&
      seen.find(fmt::format("tcp to port {} (", *aim.own_port)) != std::string::npos)
    dose.reason = fmt::format(
        "what came to port {} was not hit: by connections that were there before, or kept from our rules by "
        "those of others (notrack, a translation of addresses)",
        *aim.own_port);
  if (!seen.empty())
    dose.reason += fmt::format("{}what passed {} meanwhile: {}", dose.reason.empty() ? "" : "; ",
                               aim.every_device ? "this host" : aim.devices.front().name, seen);
  return dose;
}
}  // namespace

Dose in_view_of(const NetworkAim& aim, Dose dose, std::uint64_t met_at_least) {
  dose = with_who_went_by(aim, std::move(dose));
  if (aim.traffic) dose = aim.traffic->in_view(std::move(dose), met_at_least);
  if (const auto why = aim.started_anew(); !why.empty() && aim.watch->escaped().empty())
    dose = doubted(std::move(dose), why);
  if (aim.newcomers && aim.watch->age()) dose = aim.newcomers->in_view(std::move(dose));
  return aim.watch->in_view(std::move(dose));
}

void expect_no_newcomers(NetworkAim& aim, bool both, Newcomers::Hit hit) {
  if (aim.every_device && (both || aim.direction != Direction::in))
    aim.newcomers = std::make_shared<Newcomers>(aim.network_namespace, aim.namespace_pid, aim.devices, both,
                                                std::move(hit));
}

std::vector<FaultEvent> events_of(const NetworkAim& aim) {
  auto out = aim.watch->events();
  if (aim.newcomers) aim.newcomers->tell(out);
  return out;
}

}  // namespace squall::faults
