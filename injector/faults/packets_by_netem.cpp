#include "injector/faults/packets_by_netem.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/packet_dose.hpp"
#include "injector/host/netem.hpp"
#include "injector/host/network_namespace.hpp"
#include "injector/host/packet_filter.hpp"
#include "injector/host/packet_times.hpp"
#include "injector/host/records.hpp"
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
  PacketMatch match;
};

std::vector<Turn> turns(const NetworkAim& aim) {
  std::vector<Turn> out;
  const bool leaving = aim.direction != Direction::in, arriving = aim.direction != Direction::out;
  for (auto& device : aim.devices) {
    // What crosses the loopback device leaves by it first, whatever its direction.
    if (device.loopback) {
      out.push_back({device, tc::Hook::egress, aim.matching(aim.direction, true)});
      continue;
    }
    if (leaving) out.push_back({device, tc::Hook::egress, aim.matching(Direction::out, false)});
    if (arriving) out.push_back({device, tc::Hook::ingress, aim.matching(Direction::in, false)});
  }
  return out;
}

class NetemFault : public Fault {
 public:
  NetemFault(const Impairment& what, NetworkAim aim, std::string prefix, std::string alias)
      : aim_(std::move(aim)), what_(what), prefix_(std::move(prefix)), alias_(std::move(alias)) {
    // tbf drops what its bucket cannot hold.
    for (auto& device : aim_.devices)
      if (what_.rate) what_.rate->bucket_bytes = std::max<std::int64_t>(what_.rate->bucket_bytes, device.mtu + 64);
    in_place([&] { times_ = std::make_shared<PacketTimes>(what_.corrupt > 0 ? PacketTimes::longest : PacketTimes::headers); });
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
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
    out.emplace_back("measured from a packet's arrival before netem to its departure; what the application adds is not seen");
    return out;
  }

  void apply(Transaction& transaction) override {
    tc::add_ifb(transaction, place(), holding(), alias_);
    tc::add_netem(transaction, place(), holding(), what_, limit(), level_);
    tc::add_ifb(transaction, place(), copying(), alias_);
    Change listen;
    listen.what = fmt::format("time the packets between {} and {}", copying(), holding());
    listen.undo_note = "goes with the devices";
    listen.act = [this] {
      in_place([&] { times_->listen(copying(), holding()); });
      full_since_ = *level_ < 1 ? INT64_MAX : 0;
      full_from_ = *level_ < 1 ? std::nullopt : std::optional<Counters>{Counters{}};
    };
    transaction.add(std::move(listen));
    const auto all = turns(aim_);
    for (auto& device : aim_.devices) {
      auto has = tc::Anchor::none;
      in_place([&] { has = tc::anchor(device.index); });
      if (has == tc::Anchor::none) tc::add_clsact(transaction, place(), device.name, device.index);
    }
    for (auto& turn : all) {
      const auto text = to_string(turn.match);
      tc::add_redirect(transaction, place(), turn.device.name, turn.device.index, turn.hook, packet_filter(turn.match, matched), holding(), copying(),
                       text.empty() ? "every packet" : "packets " + text);
    }
  }

  void started() override { in_force_ = true; }

  void set_level(double level) override {
    *level_ = level;
    if (!in_force_) return;
    in_place([&] { tc::set_netem(holding(), what_, level, limit(), true); });
    full_since_ = level < 1 ? INT64_MAX : std::min(full_since_, wall_ns());
    if (level >= 1 && !full_from_) {
      read();
      full_from_ = now_;
    }
  }

  Dose measure() override {
    if (in_force_) read();
    PacketsSeen seen;
    seen.held = &held_;
    seen.packets = now_.netem.packets;
    seen.holding = now_.netem.waiting + now_.rate.waiting;
    seen.level = *level_;
    seen.sees_bursts = false;
    seen.corrupted_seen = 0.6;
    seen.queue_in_times = what_.rate.has_value();
    if (!what_.each_packet()) seen.lost = now_.netem.dropped;
    if (full_from_) seen.counts = counts_since(*full_from_);
    return packet_dose(what_, seen);
  }

  std::vector<FaultEvent> events() override {
    // What netem loses on purpose and what it had no room for are one figure.
    if (what_.each_packet()) return {};
    if (const auto more = now_.netem.dropped - std::exchange(told_lost_, now_.netem.dropped))
      return {{"packets.lost", wall_ns(), {{"packets", more}, {"why", fmt::format("more than {} waited", limit())}}}};
    return {};
  }

  void stopping() override {
    if (in_force_) read();
    in_force_ = false;
  }

 private:
  tc::Place place() const { return {aim_.network_namespace, aim_.namespace_pid}; }
  std::string holding() const { return prefix_ + "d"; }
  std::string copying() const { return prefix_ + "c"; }
  std::uint32_t limit() const { return longest_queue(what_); }
  void in_place(const std::function<void()>& act) const { in_network_namespace(aim_.network_namespace, aim_.namespace_pid, act); }

  // What the kernel counted so far.
  struct Counters {
    tc::Netem netem;
    tc::Tbf rate;
    std::uint64_t came = 0, altered = 0, at_once = 0;
    std::int64_t at = 0;
  };

  void read() {
    times_->each([&](std::int64_t before, std::int64_t after) {
      if (before < full_since_) return;
      // Those that overtake are not delayed at all.
      if (what_.reorder && (after - before) * 2 < what_.delay.delay_ns)
        now_.at_once += times_->one_in();
      else
        held_.add(after - before);
    });
    now_.altered = times_->altered();
    in_place([&] {
      if (auto found = links::find(copying())) now_.came = links::traffic(found->index).received;
      auto found = links::find(holding());
      if (!found) return;
      if (auto netem = tc::read_netem(found->index)) now_.netem = *netem;
      if (!what_.rate) return;
      const auto before = now_.rate;
      if (auto rate = tc::read_tbf(found->index)) now_.rate = *rate;
      // Packets waited at both looks and some were held back between them: the pace was that of the limit.
      const auto at = monotonic_ns();
      if (full_from_ && before.waiting && now_.rate.waiting && now_.rate.held_back > before.held_back) {
        busy_bytes_ += now_.rate.bytes - before.bytes;
        busy_ns_ += at - now_.at;
      }
      now_.at = at;
    });
  }

  PacketCounts counts_since(const Counters& from) const {
    PacketCounts out;
    const auto packets = now_.netem.packets + now_.netem.waiting - from.netem.packets - from.netem.waiting;
    const auto dropped = now_.netem.dropped - from.netem.dropped;
    // One look at netem is of one moment; the copies are counted elsewhere and a little later.
    out.losses.came = what_.duplicate > 0 ? now_.came - from.came : packets + dropped;
    out.losses.lost = dropped;
    out.duplicated = packets + dropped > out.losses.came ? packets + dropped - out.losses.came : 0;
    // Of two alike the second is not known again either, and of two of which one is corrupted it hides that.
    const auto altered = now_.altered - from.altered;
    out.corrupted = altered > out.duplicated ? altered - out.duplicated : 0;
    if (out.duplicated < out.losses.came) out.corrupted = out.corrupted * out.losses.came / (out.losses.came - out.duplicated);
    out.at_once = now_.at_once;
    out.queue_full = now_.rate.dropped - from.rate.dropped;
    out.busy_bytes = busy_bytes_;
    out.busy_ns = busy_ns_;
    return out;
  }

  NetworkAim aim_;
  Impairment what_;
  std::string prefix_, alias_;
  std::shared_ptr<PacketTimes> times_;
  std::shared_ptr<double> level_ = std::make_shared<double>(1);
  std::int64_t full_since_ = INT64_MAX;
  HoldTimes held_;
  Counters now_;
  std::optional<Counters> full_from_;  // what there was when the dose became full
  std::uint64_t busy_bytes_ = 0;
  std::int64_t busy_ns_ = 0;
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
