#include "injector/faults/packets/packets_by_queue.hpp"

#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/dose/packet_dose.hpp"
#include "injector/host/packets/packet_detour.hpp"
#include "injector/host/rules/netfilter_hooks.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

// On the loopback device both directions are told apart by the ports that are meant, or by the process.
QueueWays queue_ways(const NetworkAim& aim) {
  QueueWays out;
  if (aim.direction != Direction::both)
    out.all = aim.direction == Direction::out ? Way::out : Way::in;
  else if (aim.cgroups.empty() && aim.includes_loopback())
    out.out_on_loopback = aim.matching(Direction::out, true).ports;
  return out;
}

// Those that these points see packets of.
std::vector<Way> ways_of(const NetworkAim& aim, const PacketDetourPlan& plan) {
  if (plan.ways.all) return {*plan.ways.all};
  bool out = false, in = false;
  for (auto& point : plan.rules.points) {
    const bool leaves = point.at == HoldPoint::At::leaving;
    const bool loopback = !leaves && std::any_of(aim.devices.begin(), aim.devices.end(), [&](auto& device) {
      return device.loopback && device.index == point.interface;
    });
    const bool crosses = loopback && point.at == HoldPoint::At::arriving;
    out |= leaves || crosses;
    in |= (!leaves && !crosses) || (crosses && !plan.ways.out_on_loopback.empty());
  }
  std::vector<Way> ways;
  if (out) ways.push_back(Way::out);
  if (in) ways.push_back(Way::in);
  return ways;
}

constexpr std::string_view mechanism_name = "userland packet queue (nftables, nfqueue, tap)";

class UserlandFault : public Fault {
 public:
  UserlandFault(NetworkAim aim, PacketDetourPlan plan, bool in_earnest)
      : aim_(std::move(aim)),
        what_(plan.what),
        ways_(ways_of(aim_, plan)),
        detour_(std::make_shared<PacketDetour>(std::move(plan))) {
    if (uses_devices(detour_->plan().rules)) aim_.watch->expect_its_name();
    if (in_earnest) try {
        keep_hooks_switched_on();
        detour_->get_ready();
      } catch (const std::exception&) {
        // Whoever applies it is told.
      }
  }

  void note_probes(const std::string& service, const std::vector<Endpoint>& ends) override {
    if (aim_.traffic) aim_.traffic->note_probes(service, ends);
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims(); }
  bool keeps_packets() const override { return uses_queue(detour_->plan().rules); }
  void make_way(bool on) override { detour_->make_way(on); }
  void begin_letting_go() override { detour_->begin_letting_go(); }
  void finish_letting_go() override { detour_->finish_letting_go(); }

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    std::vector<std::string> skipped;
    for (auto& device : aim_.devices)
      if (!device.loopback && !device.ethernet && aim_.direction != Direction::in)
        skipped.push_back(device.name);
    if (!skipped.empty())
      out.push_back(fmt::format("what leaves by {} is left as it is: it carries no Ethernet frames",
                                fmt::join(skipped, ", ")));
    if (aim_.every_device && aim_.direction != Direction::in)
      out.emplace_back("what leaves by an interface that comes up later is left as it is");
    if (what_.delay.delay_ns > 0 || what_.rate)
      out.emplace_back(
          "packets that wait when it is undone follow within 0.4 s, at five times their pace or more: later "
          "ones overtake them");
    if (what_.corrupt > 0 && uses_queue(detour_->plan().rules))
      out.emplace_back(
          "of arriving packets only what follows the IP header is corrupted: damage in it would be dropped "
          "before anybody sees it");
    if (uses_devices(detour_->plan().rules))
      out.emplace_back(
          "what leaves goes on without the mark (fwmark) and the priority that its sender gave it: a queue "
          "of the device that sorts by them does not know it");
    out.emplace_back(
        "if the injector is killed, packets that wait at that moment are lost; later ones pass as they are");
    if (uses_queue(detour_->plan().rules) && (what_.delay.delay_ns > 0 || what_.rate))
      out.emplace_back(
          "programs that ask the kernel when a packet arrived (SO_TIMESTAMP; ping without -U) are told the "
          "time before it waited here");
    if (uses_queue(detour_->plan().rules))
      out.emplace_back(
          "when another fault of the run ends, packets that wait pass at once; whoever else removes a "
          "netfilter hook of this network namespace makes the kernel drop them");
    if (what_.delay.delay_ns > 0 && uses_queue(detour_->plan().rules))
      out.emplace_back(
          "where another fault delays an arriving packet too, the longer delay counts, not both");
    if (what_.duplicate > 0 && uses_queue(detour_->plan().rules))
      out.emplace_back(
          "the second of two arriving packets comes by the loopback device: a service that is bound to "
          "another one does not see it");
    if (leads_pieces(detour_->plan().rules))
      out.emplace_back(
          "of a packet that is cut into pieces (fragments) all share the fate of the first, and count as "
          "one; a piece that arrives before the first passes as it is");
    if (what_.content())
      out.emplace_back(
          "packets of more than 65,531 bytes, as lo may carry, are neither repeated nor corrupted");
    if (uses_queue(detour_->plan().rules) && !what_.rate && !what_.content())
      out.emplace_back(
          "where more than 20 arrive in a millisecond for a while, one in 0.2 ms is looked at, or one in 16; "
          "when the others came is taken from that (interpolated_packets)");
    out.emplace_back(
        "measured from a packet's arrival in the queue to its release; what the application adds is not "
        "seen");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_);
    detour::lead_packets(transaction, detour_, fmt::format("{}", fmt::join(aim_.targets, "; ")));
  }

  void set_level(double level) override {
    level_ = level;
    detour_->set_level(level);
  }

  void started() override {
    // What is led to a tap that is gone is lost until that is noticed.
    aim_.watch->stands_on([this] { return detour_->flow_where_a_tap_is_gone(); });
    aim_.watch->stands_on([this] { return gone_rules(detour_->lost_rules()); }, rules_every_ns);
    expect_no_newcomers(aim_, false, [this](const std::string& name) {
      return take_what_leaves(detour_->plan().rules, name);
    });
    aim_.watch->begin();
    if (aim_.traffic) aim_.traffic->begin();
  }
  void stopping() override {
    aim_.watch->end();
    if (aim_.traffic) aim_.traffic->end();
  }

  Dose measure() override {
    const auto measured = detour_->measure();
    PacketsSeen seen;
    for (const auto way : ways_) {
      auto& of = measured.of(way);
      seen.ways.push_back({way, &of.at_full_level, of.packets, of.holding, of.counts, of.released});
    }
    seen.overflowed = measured.overflowed;
    seen.lost = measured.lost;
    seen.refused = measured.refused;
    seen.interpolated = measured.interpolated;
    seen.level = level_;
    auto dose = packet_dose(what_, seen);
    if (const auto chatter = only_chatter(aim_, *detour_->plan().ends); !chatter.empty() && dose.verified)
      dose = doubted(std::move(dose), chatter);
    if (aim_.traffic) aim_.traffic->samples |= measured.interpolated > 0;
    dose = in_view_of(aim_, std::move(dose));
    if (const auto lost = detour_->lost_to_an_outage()) dose.measured["packets_lost_to_an_outage"] = lost;
    // Rules on a device are put on another one of its name too, by Linux 6.16 and later; our taps know this
    // one alone.
    if (!aim_.watch->device_gone().empty()) detour_->flow();
    return dose;
  }

  std::vector<FaultEvent> events() override {
    auto out = events_of(aim_);
    const auto measured = detour_->measure();
    const auto released = measured.of(Way::out).released + measured.of(Way::in).released;
    if (released > std::exchange(told_released_, released))
      out.push_back({"packets.released",
                     wall_ns(),
                     {{"packets", released}, {"why", "undone before their delay was over"}}});
    if (const auto more = measured.overflowed - std::exchange(told_overflowed_, measured.overflowed))
      out.push_back({"packets.undelayed", wall_ns(), {{"packets", more}, {"why", "too many were held"}}});
    if (const auto more = measured.lost - std::exchange(told_lost_, measured.lost))
      out.push_back(
          {"packets.lost", wall_ns(), {{"packets", more}, {"why", "the kernel dropped what waited"}}});
    if (const auto more = measured.refused - std::exchange(told_refused_, measured.refused))
      out.push_back(
          {"packets.lost",
           wall_ns(),
           {{"packets", more}, {"why", "the queue of the device that they were to leave by was full"}}});
    return out;
  }

 private:
  NetworkAim aim_;
  Impairment what_;
  std::vector<Way> ways_;
  std::shared_ptr<PacketDetour> detour_;
  double level_ = 1;
  std::uint64_t told_released_ = 0, told_overflowed_ = 0, told_lost_ = 0, told_refused_ = 0;
};

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace("needs Linux 5.16 or later with nf_tables, NFQUEUE and tun", [] {
    PacketDetourPlan plan;
    plan.what.delay.delay_ns = 1'000'000;
    plan.prefix = plan.rules.table = "sqdoctor";
    HoldPoint arriving, leaving;
    arriving.interface = 1;
    leaving.at = HoldPoint::At::leaving;
    leaving.device = "lo";
    plan.rules.points = {arriving, leaving};
    PacketDetour detour{std::move(plan)};
    detour.start_engine();
    detour.add_rules();
    detour.remove_rules();
    detour.stop_engine();
  });
}

}  // namespace

std::unique_ptr<Fault> packets_by_queue(const Impairment& what, NetworkAim aim, const Setting& setting,
                                        Diagnostics& diagnostics) {
  if (!sees_what_arrives(aim, diagnostics)) return nullptr;
  PacketDetourPlan plan;
  plan.what = what;
  plan.seed = setting.seed;
  plan.ways = queue_ways(aim);
  plan.prefix = plan.rules.table = own_name(setting);
  plan.rules.points = hold_points(aim);
  plan.network_namespace = aim.network_namespace;
  plan.namespace_pid = aim.namespace_pid;
  plan.ends = aim.traffic ? aim.traffic->met : std::make_shared<EndpointSet>();
  if (aim.traffic) aim.traffic->counted_by = counted_by(aim.direction);
  if (marks_senders(aim)) {
    plan.rules.senders = aim.cgroups;
    if (!aim.every_device) plan.rules.sender_interface = aim.devices.front().index;
  }
  if (plan.rules.points.empty()) {
    diagnostics.error({}, fmt::format("what leaves by \"{}\" cannot be held in user space: it carries no "
                                      "Ethernet frames; direction in can",
                                      aim.devices.front().name));
    return nullptr;
  }
  if (plan.rules.points.size() > most_hold_points) {
    diagnostics.error({}, fmt::format("expected at most {} interfaces, there are {}", most_hold_points,
                                      aim.devices.size()));
    return nullptr;
  }
  return std::make_unique<UserlandFault>(std::move(aim), std::move(plan), setting.io != nullptr);
}

Capability queue_capability() {
  // Asked once: what a kernel lacks it will not have a moment later.
  static const std::string missing = refusal();
  Capability out;
  out.mechanism = mechanism_name;
  out.missing = missing;
  out.possible = out.missing.empty();
  out.note = how_processes_are_known() +
             "; a ruleset that is saved meanwhile (nft list ruleset) names devices and queues of ours: leave "
             "the tables sq… out, or it cannot be loaded";
  out.measures = "what became of each packet, and how long it was held; what an application adds is not seen";
  return out;
}

}  // namespace squall::faults
