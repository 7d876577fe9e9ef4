#include "injector/faults/packets_by_netem.hpp"

#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/netem_line.hpp"
#include "injector/host/netem.hpp"
#include "injector/host/network_namespace.hpp"
#include "injector/host/packet_filter.hpp"
#include "injector/host/packet_times.hpp"
#include "injector/host/traffic_control.hpp"
#include "injector/host/packet_detour.hpp"

namespace squall::faults {
namespace {

namespace tc = traffic_control;

constexpr std::string_view mechanism_name = "netem behind clsact and an ifb";
constexpr std::uint32_t matched = 0xffffffff;  // what a filter says of the packets it takes: the class is of no use here

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
    // What crosses the loopback device leaves by it first, whatever its direction, which ports tell if anything does.
    const auto arrives = device.loopback ? tc::Hook::egress : tc::Hook::ingress;
    const auto sent = aim.matching(Direction::out, device.loopback), received = aim.matching(Direction::in, device.loopback);
    if (device.loopback && leaving && arriving && sent.ports == received.ports) {
      out.push_back({device, tc::Hook::egress, Way::out, aim.matching(Direction::both, true)});
      continue;
    }
    if (leaving) out.push_back({device, tc::Hook::egress, Way::out, sent});
    if (arriving) out.push_back({device, arrives, Way::in, received});
  }
  return out;
}

// netem adds up even numbers with the weight of the correlation (get_crandom in net/sched/sch_netem.c): what comes of it
// has so much of their deviation.
double narrowed_by(double correlation) { return std::sqrt((1 - correlation) / (1 + correlation)); }

class NetemFault : public Fault {
 public:
  NetemFault(const Impairment& what, NetworkAim aim, const std::string& prefix, const std::string& alias) : aim_(std::move(aim)), what_(what), turns_(turns(aim_)) {
    // tbf drops what its bucket cannot hold.
    for (auto& device : aim_.devices)
      if (what_.rate) what_.rate->bucket_bytes = std::max<std::int64_t>(what_.rate->bucket_bytes, device.mtu + 64);
    for (const auto way : {Way::out, Way::in})
      if (std::any_of(turns_.begin(), turns_.end(), [way](auto& turn) { return turn.way == way; }))
        lines_.emplace(way, std::make_unique<NetemLine>(what_, place(), prefix, alias, way));
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims(); }

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.emplace_back("a packet that waits when the delay is undone goes on in its own time; one that would wait for more than 450 ms more is lost");
    if (const auto restarted = needs_clsact(aim_); !restarted.empty())
      out.push_back(fmt::format("adding clsact to {} and removing it restarts the queue there: the kernel drops what waits in it at that moment", fmt::join(restarted, ", ")));
    if (aim_.every_device) out.emplace_back("what passes an interface that comes up later is left as it is");
    out.emplace_back("a filter of somebody else that ends a packet's classification comes before ours; the dose tells");
    if (what_.each_packet()) out.emplace_back("large segments that a sender leaves to its device to cut count as one packet");
    if (what_.corrupt > 0) out.emplace_back("of the corrupted packets those are not seen whose link header was hit");
    if (what_.delay.correlation > 0 && what_.delay.jitter_ns > 0)
      out.push_back(fmt::format("netem narrows the jitter that it correlates, to about {:.0f} % here; mechanism=userland does not", 100 * narrowed_by(what_.delay.correlation)));
    out.emplace_back("measured from a packet's arrival before netem to its departure; what the application adds is not seen");
    return out;
  }

  void apply(Transaction& transaction) override {
    for (auto& [way, line] : lines_) line->apply(transaction, level_);
    for (auto& device : aim_.devices) {
      auto has = tc::Anchor::none;
      in_network_namespace(aim_.network_namespace, aim_.namespace_pid, [&] { has = tc::anchor(device.index); });
      if (has == tc::Anchor::none) tc::add_clsact(transaction, place(), device.name, device.index);
    }
    for (auto& turn : turns_) {
      const auto text = to_string(turn.match);
      auto& line = *lines_.at(turn.way);
      tc::add_redirect(transaction, place(), turn.device.name, turn.device.index, turn.hook, packet_filter(turn.match, matched), line.holding(), line.copying(),
                       text.empty() ? "every packet" : "packets " + text);
    }
  }

  void started() override { in_force_ = true; }

  void set_level(double level) override {
    *level_ = level;
    if (!in_force_) return;
    for (auto& [way, line] : lines_) line->set_level(level);
  }

  Dose measure() override {
    if (in_force_) read();
    PacketsSeen seen;
    for (auto& [way, line] : lines_) seen.ways.push_back(line->seen());
    seen.level = *level_;
    seen.sees_bursts = false;
    seen.corrupted_seen = 0.6;
    seen.queue_in_times = what_.rate.has_value();
    if (what_.delay.correlation > 0) seen.narrowed = 0.8 * narrowed_by(what_.delay.correlation);
    // Of those that overtake it is told by their times which they are.
    seen.judges_spread = !what_.reorder;
    if (!what_.each_packet()) seen.lost = dropped();
    return in_view_of(aim_, packet_dose(what_, seen));
  }

  std::vector<FaultEvent> events() override {
    auto out = aim_.watch->events();
    // What netem loses on purpose and what it had no room for are one figure.
    if (what_.each_packet()) return out;
    if (const auto more = dropped() - std::exchange(told_lost_, dropped()))
      out.push_back({"packets.lost", wall_ns(), {{"packets", more}, {"why", fmt::format("more than {} waited", longest_queue(what_))}}});
    return out;
  }

  void stopping() override {
    if (in_force_) read();
    in_force_ = false;
  }

 private:
  tc::Place place() const { return {aim_.network_namespace, aim_.namespace_pid}; }
  void read() {
    for (auto& [way, line] : lines_) line->read();
  }
  std::uint64_t dropped() const {
    std::uint64_t out = 0;
    for (auto& [way, line] : lines_) out += line->dropped();
    return out;
  }

  NetworkAim aim_;
  Impairment what_;
  std::vector<Turn> turns_;
  std::map<Way, std::unique_ptr<NetemLine>> lines_;
  std::shared_ptr<double> level_ = std::make_shared<double>(1);
  std::uint64_t told_lost_ = 0;
  bool in_force_ = false;
};

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace("needs a kernel with sch_netem, sch_tbf, ifb, clsact, cls_bpf and act_mirred: Debian's has them", [] {
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
    tc::add_redirect(transaction, here, "lo", 1, tc::Hook::egress, packet_filter({}, matched), "sqdoctord", "sqdoctorc", "every packet");
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
    for (auto& turn : turns(aim)) out |= tc::classified(turn.device.index, turn.hook);
  });
  return out;
}

std::string netem_cannot(const Impairment& what, const NetworkAim& aim) {
  if (what.loss && what.loss->every) return "netem has no loss of every n-th packet";
  if (const auto off = netem_table_is_off(what.delay); !off.empty()) return off + " (mechanism: userland replays them as they are)";
  if (!aim.cgroups.empty()) return "no filter of the kernel's tells a packet's process: it can be aimed by interface, listens_on, to, port and protocol";
  if (!known_refusal().empty()) return known_refusal();
  std::string why;
  in_network_namespace(aim.network_namespace, aim.namespace_pid, [&] {
    for (auto& device : aim.devices)
      if (tc::anchor(device.index) == tc::Anchor::ingress)
        why = fmt::format("{} has an ingress qdisc of somebody else's in the place of clsact", device.name);
  });
  return why;
}

std::unique_ptr<Fault> packets_by_netem(const Impairment& what, NetworkAim aim, const Setting& setting, Diagnostics& diagnostics) {
  try {
    return std::make_unique<NetemFault>(what, std::move(aim), own_name(setting), fmt::format("squall {} {}", setting.session, setting.step));
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
  out.measures = "the time of each packet before and behind netem, and netem's own counters; what an application adds is not seen";
  return out;
}

}  // namespace squall::faults
