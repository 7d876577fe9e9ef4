#include "injector/faults/packets/packets_by_netem.hpp"

#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/packets/netem_line.hpp"
#include "injector/host/packets/fragments.hpp"
#include "injector/host/packets/packet_detour.hpp"
#include "injector/host/packets/packet_times.hpp"
#include "injector/host/tc/netem.hpp"
#include "injector/host/tc/packet_filter.hpp"
#include "injector/host/tc/traffic_control.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

namespace tc = traffic_control;

constexpr std::string_view mechanism_name = "netem behind clsact and an ifb";
constexpr std::uint32_t matched =
    0xffffffff;  // what a filter says of the packets it takes: the class is of no use here

// Where packets are led away from one device.
struct Turn {
  links::Link device;
  tc::Hook hook;
  Way way;
  PacketMatch match;
};

std::vector<Turn> turns(const NetworkAim& aim) {
  std::vector<Turn> out;
  const bool leaving = aim.direction != Direction::in, arriving = aim.direction != Direction::out;
  for (auto& device : aim.devices) {
    // What crosses the loopback device leaves by it first, whatever its direction, which ports tell if
    // anything does.
    const auto arrives = device.loopback ? tc::Hook::egress : tc::Hook::ingress;
    const auto sent = aim.matching(Direction::out, device.loopback),
               received = aim.matching(Direction::in, device.loopback);
    if (device.loopback && leaving && arriving && sent.ports == received.ports) {
      out.push_back({device, tc::Hook::egress, Way::out, aim.matching(Direction::both, true)});
      continue;
    }
    if (leaving) out.push_back({device, tc::Hook::egress, Way::out, sent});
    if (arriving) out.push_back({device, arrives, Way::in, received});
  }
  return out;
}

// netem adds up even numbers with the weight of the correlation (get_crandom in net/sched/sch_netem.c): what
// comes of it has so much of their deviation.
double narrowed_by(double correlation) {
  return std::sqrt((1 - correlation) / (1 + correlation));
}

class NetemFault : public Fault {
 public:
  NetemFault(const Impairment& what, NetworkAim aim, const std::string& prefix, const std::string& alias)
      : aim_(std::move(aim)), what_(what), turns_(turns(aim_)) {
    // tbf drops what its bucket cannot hold.
    for (auto& device : aim_.devices)
      if (what_.rate)
        what_.rate->bucket_bytes = std::max<std::int64_t>(what_.rate->bucket_bytes, device.mtu + 64);
    if (aim_.traffic) {
      aim_.traffic->counted_by = counted_by(aim_.direction);
      // A filter notes no ends; what it takes follows from the ends on the wire.
      aim_.traffic->meets = [own = aim_.own_port](const Endpoint& mine, const Endpoint&) {
        return !own || mine.port == *own;
      };
    }
    for (const auto way : {Way::out, Way::in})
      if (std::any_of(turns_.begin(), turns_.end(), [way](auto& turn) { return turn.way == way; }))
        lines_.emplace(way, std::make_unique<NetemLine>(what_, place(), prefix, alias, way))
            .first->second->note_ends(came_);
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims(); }

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.emplace_back(
        "a packet that waits when the delay is undone goes on in its own time; one that would wait for more "
        "than 450 ms more is lost");
    if (const auto restarted = needs_clsact(aim_); !restarted.empty())
      out.push_back(
          fmt::format("adding clsact to {} and removing it restarts the queue there: the kernel drops what "
                      "waits in it at that moment",
                      fmt::join(restarted, ", ")));
    if (aim_.every_device) out.emplace_back("what passes an interface that comes up later is left as it is");
    out.emplace_back(
        "a filter of somebody else that ends a packet's classification comes before ours; the dose tells");
    if (what_.each_packet())
      out.emplace_back(
          "large segments that a sender leaves to its device to cut count as one packet: they are lost, "
          "repeated or let overtake as a whole; where some come, corrupted packets cannot be counted");
    if (knows_by_ports())
      out.emplace_back(
          "of a packet that is cut into pieces (fragments) the first alone is known by its port; the others "
          "pass as they are, and the dose tells where some came");
    if (knows_by_ports() && what_.delay.delay_ns > 0)
      out.emplace_back(
          "where more than 64 pieces of others overtake the first of a packet, its receiver gives the packet "
          "up (net.ipv4.ipfrag_max_dist): to such packets this delay is an outage");
    if (what_.corrupt > 0)
      out.emplace_back("of the corrupted packets those are not seen whose link header was hit");
    if (what_.delay.correlation > 0 && what_.delay.jitter_ns > 0)
      out.push_back(fmt::format(
          "netem narrows the jitter that it correlates, to about {:.0f} % here; mechanism=userland does not",
          100 * narrowed_by(what_.delay.correlation)));
    out.emplace_back(
        "measured from a packet's arrival before netem to its departure; what the application adds is not "
        "seen");
    return out;
  }

  void apply(Transaction& transaction) override {
    redirects_.clear();
    for (auto& [way, line] : lines_)
      line->apply(transaction, level_);
    for (auto& device : aim_.devices) {
      auto has = tc::Anchor::none;
      in_network_namespace(aim_.network_namespace, aim_.namespace_pid,
                           [&] { has = tc::anchor(device.index); });
      if (has == tc::Anchor::none) tc::add_clsact(transaction, place(), device.name, device.index);
    }
    for (auto& turn : turns_) {
      const auto text = to_string(turn.match);
      auto& line = *lines_.at(turn.way);
      const auto redirect =
          tc::add_redirect(transaction, place(), turn.device.name, turn.device.index, turn.hook,
                           packet_filter(turn.match, matched), line.holding(), line.copying(),
                           text.empty() ? "every packet" : "packets " + text);
      redirects_.push_back({redirect, turn.way, turn.device.name});
    }
  }

  void started() override {
    in_force_ = true;
    pieces_before_ = pieces_ = read_pieces();
    for (auto& [way, line] : lines_)
      aim_.watch->stands_on([this, which = way] { return look_at_line(which); });
    for (auto& redirect : redirects_)
      aim_.watch->stands_on([this, &redirect] { return look_at_filter(redirect); });
    expect_no_newcomers(aim_, true);
    aim_.watch->begin();
    if (aim_.traffic) aim_.traffic->begin();
  }
  void note_probes(const std::string& service, const std::vector<Endpoint>& ends) override {
    if (aim_.traffic) aim_.traffic->note_probes(service, ends);
  }

  void set_level(double level) override {
    *level_ = level;
    if (!in_force_) return;
    for (auto& [way, line] : lines_)
      line->set_level(level);
  }

  Dose measure() override {
    if (in_force_) read();
    PacketsSeen seen;
    for (auto& [way, line] : lines_)
      if (seen.corruption_unseen.empty()) seen.corruption_unseen = line->corruption_unseen();
    for (auto& [way, line] : lines_)
      seen.ways.push_back(line->seen());
    seen.level = *level_;
    seen.sees_bursts = false;
    seen.corrupted_seen = 0.6;
    seen.queue_in_times = what_.rate.has_value();
    if (what_.delay.correlation > 0) seen.narrowed = 0.8 * narrowed_by(what_.delay.correlation);
    // Of those that overtake it is told by their times which they are.
    seen.judges_spread = !what_.reorder;
    if (!what_.each_packet()) seen.lost = dropped();
    auto dose = by_pieces(packet_dose(what_, seen));
    if (const auto chatter = only_chatter(aim_, *came_); !chatter.empty() && dose.verified)
      dose = doubted(std::move(dose), chatter);
    dose = in_view_of(aim_, std::move(dose));
    if (outage_lost_) dose.measured["packets_lost_to_an_outage"] = outage_lost_;
    return dose;
  }

  std::vector<FaultEvent> events() override {
    auto out = events_of(aim_);
    // What netem loses on purpose and what it had no room for are one figure.
    if (what_.each_packet()) return out;
    if (const auto more = dropped() - std::exchange(told_lost_, dropped()))
      out.push_back({"packets.lost",
                     wall_ns(),
                     {{"packets", more}, {"why", fmt::format("more than {} waited", longest_queue(what_))}}});
    return out;
  }

  void stopping() override {
    if (in_force_) read();
    aim_.watch->end();
    if (aim_.traffic && in_force_) aim_.traffic->end();
    in_force_ = false;
  }

 private:
  // Where packets are led to one of our lines.
  struct Led {
    tc::Redirect filter;
    Way way;
    std::string device;
  };

  // Where what is led there is lost, no more is.
  std::string look_at_line(Way way) {
    const auto trouble = lines_.at(way)->look(*level_);
    if (!trouble.loses) return trouble.what;
    const auto lost = flow(way);
    outage_lost_ += lost;
    return fmt::format("{}, which was an outage: {} packets were lost; packets pass as they are since",
                       trouble.what, lost);
  }

  std::uint64_t flow(Way way) {
    std::uint64_t lost = 0;
    in_network_namespace_if_there(aim_.network_namespace, aim_.namespace_pid, [&] {
      for (auto& led : redirects_) {
        if (led.way != way) continue;
        if (const auto filter = tc::find(led.filter)) lost += filter->dropped;
        tc::remove(led.filter);
      }
    });
    flows_.insert(way);
    return lost;
  }

  std::string look_at_filter(const Led& led) {
    std::string wrong;
    in_network_namespace_if_there(aim_.network_namespace, aim_.namespace_pid, [&] {
      const auto device = links::by_index(led.filter.interface);
      if (flows_.contains(led.way) || !device) return;  // told already
      const auto filter = tc::find(led.filter);
      const auto at =
          fmt::format("{} {}", device->name, led.filter.hook == tc::Hook::egress ? "egress" : "ingress");
      if (!filter)
        wrong = fmt::format(
            "somebody removed {} from {}: nothing was hit there since",
            tc::anchor(device->index) == tc::Anchor::none ? "clsact, and our filter with it," : "our filter",
            at);
      else if (filter->to != lines_.at(led.way)->holding_index())
        wrong = fmt::format(
            "somebody changed where our filter on {} leads packets: nothing was hit there since", at);
    });
    return wrong;
  }

  tc::Place place() const { return {aim_.network_namespace, aim_.namespace_pid}; }
  void read() {
    for (auto& [way, line] : lines_)
      line->read();
    pieces_ = read_pieces();
  }

  // A filter remembers nothing: of a packet that was cut into pieces it knows the ports of the first alone.
  bool knows_by_ports() const {
    return std::any_of(turns_.begin(), turns_.end(), [](auto& turn) {
      return !turn.match.ports.empty() && turn.match.protocol != Protocol::tcp;
    });
  }
  std::uint64_t read_pieces() const {
    std::uint64_t out = pieces_;
    if (knows_by_ports())
      in_network_namespace_if_there(aim_.network_namespace, aim_.namespace_pid,
                                    [&] { out = fragments_so_far(); });
    return out;
  }
  Dose by_pieces(Dose dose) const {
    constexpr std::uint64_t few = 10;
    const auto came = pieces_ - std::min(pieces_, pieces_before_);
    if (came) dose.measured["fragments_on_this_host"] = came;
    if (came <= std::max(few, dose.samples / 50)) return dose;
    return doubted(
        std::move(dose),
        fmt::format("{} pieces of packets that were cut (fragments) came or went on this host meanwhile: of "
                    "each packet this mechanism knows the first piece by its port, the "
                    "others went by; mechanism: userland takes all of them",
                    came));
  }
  std::uint64_t dropped() const {
    std::uint64_t out = 0;
    for (auto& [way, line] : lines_)
      out += line->dropped();
    return out;
  }

  NetworkAim aim_;
  Impairment what_;
  std::vector<Turn> turns_;
  std::map<Way, std::unique_ptr<NetemLine>> lines_;
  std::shared_ptr<EndpointSet> came_ = std::make_shared<EndpointSet>();
  std::shared_ptr<double> level_ = std::make_shared<double>(1);
  std::vector<Led> redirects_;
  std::set<Way> flows_;  // whose filters we took away before the end
  std::uint64_t told_lost_ = 0, outage_lost_ = 0;
  std::uint64_t pieces_before_ = 0, pieces_ = 0;
  bool in_force_ = false;
};

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace(
      "needs a kernel with sch_netem, sch_tbf, ifb, clsact, cls_bpf and act_mirred: Debian's has them", [] {
        PacketTimes times;
        Transaction transaction;
        const tc::Place here{current_network_namespace(), 0};
        Impairment what;
        what.delay.delay_ns = what.delay.jitter_ns = 1'000'000;
        what.rate = RateShape{1e6, 4096, 65'536};
        tc::add_ifb(transaction, here, "sqdoctord", "squall doctor");
        tc::add_netem(transaction, here, "sqdoctord", what, 1000, std::make_shared<double>(1));
        tc::add_ifb(transaction, here, "sqdoctorc", "squall doctor");
        tc::add_clsact(transaction, here, "lo", 1);
        tc::add_redirect(transaction, here, "lo", 1, tc::Hook::egress, packet_filter({}, matched),
                         "sqdoctord", "sqdoctorc", "every packet");
        for (auto& change : transaction.changes()) {
          try {
            change.act();
          } catch (const std::exception& e) {
            throw std::runtime_error(fmt::format("{}: {}", change.what, e.what()));
          }
        }
      });
}

// Asked once: what a kernel lacks it will not have a moment later.
const std::string& known_refusal() {
  static const std::string why = refusal();
  return why;
}

}  // namespace

std::vector<std::string> needs_clsact(const NetworkAim& aim) {
  std::vector<std::string> out;
  in_network_namespace(aim.network_namespace, aim.namespace_pid, [&] {
    for (auto& device : aim.devices)
      if (tc::anchor(device.index) == tc::Anchor::none) out.push_back(device.name);
  });
  return out;
}

bool others_classify(const NetworkAim& aim) {
  bool out = false;
  in_network_namespace(aim.network_namespace, aim.namespace_pid, [&] {
    for (auto& turn : turns(aim))
      out |= tc::classified(turn.device.index, turn.hook);
  });
  return out;
}

std::string netem_cannot(const Impairment& what, const NetworkAim& aim) {
  if (what.loss && what.loss->every) return "netem has no loss of every n-th packet";
  if (const auto off = netem_table_is_off(what.delay); !off.empty())
    return off + " (mechanism: userland replays them as they are)";
  if (!aim.cgroups.empty())
    return "no filter of the kernel's tells a packet's process: it can be aimed by interface, listens_on, "
           "to, port and protocol";
  if (!known_refusal().empty()) return known_refusal();
  std::string why;
  in_network_namespace(aim.network_namespace, aim.namespace_pid, [&] {
    for (auto& device : aim.devices)
      if (tc::anchor(device.index) == tc::Anchor::ingress)
        why = fmt::format("{} has an ingress qdisc of somebody else's in the place of clsact", device.name);
  });
  return why;
}

std::unique_ptr<Fault> packets_by_netem(const Impairment& what, NetworkAim aim, const Setting& setting,
                                        Diagnostics& diagnostics) {
  try {
    return std::make_unique<NetemFault>(what, std::move(aim), own_name(setting),
                                        fmt::format("squall {} {}", setting.session, setting.step));
  } catch (const std::exception& e) {
    diagnostics.error({}, e.what());
    return nullptr;
  }
}

Capability netem_capability() {
  Capability out;
  out.mechanism = mechanism_name;
  out.missing = known_refusal();
  out.possible = out.missing.empty();
  out.measures =
      "the time of each packet before and behind netem, and netem's own counters; what an application adds "
      "is not seen";
  return out;
}

}  // namespace squall::faults
