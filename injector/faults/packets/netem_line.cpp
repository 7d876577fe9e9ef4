#include "injector/faults/packets/netem_line.hpp"

#include <net/if.h>

#include <fmt/format.h>

#include "injector/host/netlink/links.hpp"
#include "injector/host/packets/packet_detour.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {

namespace tc = traffic_control;

NetemLine::NetemLine(const Impairment& what, const tc::Place& place, std::string prefix, std::string alias,
                     Way way)
    : what_(what), place_(place), prefix_(std::move(prefix)), alias_(std::move(alias)), way_(way) {
  in_place([&] {
    times_ = std::make_unique<PacketTimes>(what_.corrupt > 0 ? PacketTimes::longest : PacketTimes::headers);
  });
}

void NetemLine::in_place(const std::function<void()>& act) const {
  in_network_namespace(place_.network_namespace, place_.namespace_pid, act);
}
void NetemLine::in_place_if_there(const std::function<void()>& act) const {
  in_network_namespace_if_there(place_.network_namespace, place_.namespace_pid, act);
}

std::uint32_t NetemLine::limit() const {
  return longest_queue(what_);
}

void NetemLine::apply(Transaction& transaction, const std::shared_ptr<double>& level) {
  tc::add_ifb(transaction, place_, holding(), alias_);
  tc::add_netem(transaction, place_, holding(), what_, limit(), level);
  tc::add_ifb(transaction, place_, copying(), alias_);
  Change listen;
  listen.what = fmt::format("time the packets between {} and {}", copying(), holding());
  listen.undo_note = "goes with the devices";
  listen.act = [this, level] {
    in_place([&] {
      times_->listen(copying(), holding());
      holding_ = ::if_nametoindex(holding().c_str());
      copying_ = ::if_nametoindex(copying().c_str());
    });
    full_since_ = *level < 1 ? INT64_MAX : 0;
    full_from_ = *level < 1 ? std::nullopt : std::optional<Counters>{Counters{}};
  };
  transaction.add(std::move(listen));
}

void NetemLine::set_level(double level) {
  in_place_if_there([&] { tc::set_netem(holding(), what_, level, limit(), true); });
  full_since_ = level < 1 ? INT64_MAX : std::min(full_since_, wall_ns());
  if (level >= 1 && !full_from_) {
    read();
    full_from_ = now_;
  }
}

void NetemLine::read() {
  read_times();
  in_place_if_there([&] {
    if (const auto came = links::traffic(copying_).received) now_.came = came;
    if (const auto passed = links::traffic(holding_).received) now_.passed = passed;
    if (auto netem = tc::read_netem(holding_)) now_.netem = *netem;
    if (what_.rate) read_rate(holding_);
  });
}

void NetemLine::read_times() {
  times_->each([&](std::int64_t before, std::int64_t after) {
    if (before < full_since_) return;
    // Those that overtake are not delayed at all.
    if (what_.reorder && (after - before) * 2 < what_.delay.delay_ns)
      ++now_.at_once;
    else
      held_.add(after - before);
  });
  now_.altered = times_->altered();
}

void NetemLine::read_rate(std::uint32_t device) {
  const auto before = now_.rate;
  if (auto rate = tc::read_tbf(device)) now_.rate = *rate;
  // Packets waited at both looks and some were held back between them: the pace was that of the limit.
  const auto at = monotonic_ns();
  if (full_from_ && before.waiting && now_.rate.waiting && now_.rate.held_back > before.held_back) {
    busy_bytes_ += now_.rate.bytes - before.bytes;
    busy_ns_ += at - now_.at;
  }
  now_.at = at;
}

PacketsSeen::OneWay NetemLine::seen() const {
  PacketsSeen::OneWay out{way_, &held_, now_.netem.packets, now_.netem.waiting + now_.rate.waiting, {}, 0};
  if (full_from_) out.counts = counts_since(*full_from_);
  return out;
}

PacketCounts NetemLine::counts_since(const Counters& from) const {
  PacketCounts out;
  // All in one unit, large segments uncut: netem counts what it drops and keeps so, and what it passes on as
  // on the wire, so that is taken from the device behind it.
  const auto packets = now_.passed + now_.netem.waiting - from.passed - from.netem.waiting;
  const auto dropped = now_.netem.dropped - from.netem.dropped;
  // One look at netem is of one moment; the copies are counted elsewhere and a little later.
  out.losses.came = what_.duplicate > 0 ? now_.came - from.came : packets + dropped;
  out.losses.lost = dropped;
  out.duplicated = packets + dropped > out.losses.came ? packets + dropped - out.losses.came : 0;
  // Of two alike the second is not known again either, and of two of which one is corrupted it hides that.
  const auto altered = now_.altered - from.altered;
  out.corrupted = altered > out.duplicated ? altered - out.duplicated : 0;
  if (out.duplicated < out.losses.came)
    out.corrupted = out.corrupted * out.losses.came / (out.losses.came - out.duplicated);
  // Of those whose times were seen, which are not all.
  out.at_once = now_.at_once;
  out.timed = now_.at_once + held_.count();
  out.queue_full = now_.rate.dropped - from.rate.dropped;
  out.busy_bytes = busy_bytes_;
  out.busy_ns = busy_ns_;
  return out;
}

std::string NetemLine::corruption_unseen() const {
  const auto on_the_wire = now_.netem.packets;
  if (what_.corrupt <= 0 || on_the_wire <= now_.passed + now_.passed / 100) return "";
  return fmt::format(
      "large segments came, {} packets in {} pieces: of each piece that netem hits it corrupts the first "
      "packet alone, and how many those were is not seen; mechanism: userland corrupts "
      "packets as they are on the wire",
      on_the_wire, now_.passed);
}

NetemLine::Trouble NetemLine::look(double level) const {
  Trouble out;
  in_place_if_there([&] { out = look_at_devices(level); });
  return out;
}

NetemLine::Trouble NetemLine::look_at_devices(double level) const {
  const auto holds = links::by_index(holding_);
  if (!holds || holds->alias != tc::alias_of_ifb(alias_, holding()))
    return {fmt::format("somebody removed our device {}", holding()), true};
  if (!holds->up) return {fmt::format("somebody set our device {} down", holds->name), true};
  const auto netem = tc::read_netem(holding_);
  if (!netem)
    return {fmt::format("somebody removed netem from our device {}: packets pass as they are since",
                        holds->name)};
  // A ramp moves it.
  if (const auto other = tc::unlike(*netem, what_, level); level >= 1 && !other.empty())
    return {fmt::format("somebody changed netem on our device {}: {}", holds->name, other)};
  if (what_.rate && !tc::read_tbf(holding_))
    return {fmt::format("somebody removed the limit of the rate from our device {}", holds->name)};
  const auto copies = links::by_index(copying_);
  if (!copies || !copies->up)
    return {fmt::format(
        "somebody {} our device {}, by which packets are timed: what was done to them since is not seen",
        copies ? "set down" : "removed", copying())};
  return {};
}

}  // namespace squall::faults
