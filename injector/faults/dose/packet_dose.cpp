#include "injector/faults/dose/packet_dose.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scenarios/text/readable.hpp"

namespace squall::faults {

namespace {

constexpr double enough = 5;  // packets that should have met with something, before a share is judged

// Rounded to a microsecond: finer is noise.
double told(double milliseconds) {
  return std::round(milliseconds * 1000) / 1000;
}
double told_percent(double share) {
  return std::round(share * 1e6) / 1e4;
}
double part(std::uint64_t some, std::uint64_t of) {
  return of ? static_cast<double>(some) / static_cast<double>(of) : 0;
}

// A share of the packets that was asked for and what was seen.
struct Share {
  const char* name;  // "loss_percent"
  const char* of;    // "lost"
  double asked = 0;
  std::uint64_t some = 0, all = 0;
  double clumping = 1;    // how much wider than of independent packets it spreads
  double seen_least = 1;  // the part of them that is recognised at least
};

std::string doubt(const Share& share) {
  const double all = static_cast<double>(share.all), expected = share.asked * all;
  if (expected < enough && share.asked < 1)
    return fmt::format("only {} packets came: too few to see {:.4g} % of them {}", share.all,
                       100 * share.asked, share.of);
  const double spread = 4 * std::sqrt(share.asked * (1 - share.asked) * share.clumping / std::max(all, 1.0));
  const double got = part(share.some, share.all);
  if (got >= share.asked * share.seen_least * 0.95 - spread && got <= share.asked * 1.05 + spread) return "";
  return fmt::format("expected {:.4g} % of the packets {}, measured {:.4g} % of {}", 100 * share.asked,
                     share.of, 100 * got, share.all);
}

// With this correlation of neighbours the mean of many spreads so much wider.
double clumping(const LossShape& loss) {
  if (loss.every) return 1;
  if (loss.markov) return std::max(1.0, 2 * loss.mean_burst());
  const double apart = std::max(loss.worsens + loss.recovers, 1e-6);
  return std::max(1.0, (2 - apart) / apart);
}

using OneWay = PacketsSeen::OneWay;

std::vector<Share> shares(const Impairment& what, const PacketCounts& counts, double corrupted_seen) {
  std::vector<Share> out;
  const auto came = counts.losses.came, kept = came - counts.losses.lost;
  // A packet that is both lost and repeated is neither.
  const double loss = what.loss ? what.loss->share() : 0;
  if (what.loss)
    out.push_back({"loss_percent", "lost", loss * (1 - what.duplicate), counts.losses.lost, came,
                   clumping(*what.loss), 1});
  if (what.duplicate > 0)
    out.push_back(
        {"duplicate_percent", "repeated", what.duplicate * (1 - loss), counts.duplicated, came, 1, 1});
  if (what.corrupt > 0)
    out.push_back({"corrupt_percent", "corrupted", what.corrupt, counts.corrupted, kept, 1, corrupted_seen});
  if (what.reorder) {
    const double gap = what.reorder->gap, share = what.reorder->share;
    // One in so many: those that must pass before, and the tries it takes.
    out.push_back({"reorder_percent", "let overtake", 1 / (gap - 1 + 1 / share), counts.at_once,
                   counts.timed ? counts.timed : kept, 1, 1});
  }
  return out;
}

bool unseen(const Share& share, const PacketsSeen& seen) {
  return std::string_view(share.name) == "corrupt_percent" && !seen.corruption_unseen.empty();
}

double prescribed_ms(const DelayShape& shape, double share) {
  return static_cast<double>(prescribed_quantile_ns(shape, share)) / 1e6;
}

// By how much of a share the quantile of so many delays is off by chance: 4 deviations. Delays that resemble
// those before them count for fewer.
double by_chance(const DelayShape& shape, std::uint64_t count, double share) {
  const double apart = std::max((1 - shape.correlation) / (1 + shape.correlation), 1e-6);
  return 4 * std::sqrt(share * (1 - share) / (static_cast<double>(count) * apart));
}

constexpr double one_deviation =
    0.341;  // of a normal distribution, the share of what lies within it on one side

// Half of what the middle 68 % spread over: the deviation, where the distribution is a normal one.
double prescribed_spread_ms(const DelayShape& shape, double each_side = one_deviation) {
  return (prescribed_ms(shape, 0.5 + each_side) - prescribed_ms(shape, 0.5 - each_side)) / 2;
}
double spread_ms(const HoldTimes& held) {
  return (held.quantile_ms(0.5 + one_deviation) - held.quantile_ms(0.5 - one_deviation)) / 2;
}

std::string doubt_of_spread(const DelayShape& shape, const PacketsSeen& seen, const HoldTimes& held) {
  if (shape.jitter_ns == 0 || held.count() == 0 || !seen.judges_spread) return "";
  const double chance = by_chance(shape, held.count(), 0.5 - one_deviation);
  const double least = prescribed_spread_ms(shape, std::max(0.0, one_deviation * seen.narrowed - chance)),
               most = prescribed_spread_ms(shape, one_deviation + chance);
  const double got = spread_ms(held);
  // Late timers widen it.
  if (got >= 0.9 * least - 0.1 && (got <= 1.1 * most + 2 || seen.queue_in_times)) return "";
  return fmt::format(
      "expected the middle 68 % of the delays to spread over ±{:.3f} ms, measured ±{:.3f} ms over {} packets",
      prescribed_spread_ms(shape), got, held.count());
}

std::string doubt_of_delay(const DelayShape& shape, const PacketsSeen& seen, const OneWay& way) {
  const auto& held = *way.held;
  if (held.count() == 0 && way.released)
    return fmt::format("no packet was through its delay before it was undone; {} were let go early",
                       way.released);
  if (held.count() == 0)
    return seen.level < 1 ? "still being ramped up" : "no packet came while the dose was full";
  // Of random delays the median of a few is itself random.
  const double chance = by_chance(shape, held.count(), 0.5);
  const double got = held.quantile_ms(0.5), least = prescribed_ms(shape, 0.5 - chance),
               most = prescribed_ms(shape, 0.5 + chance);
  if (got >= 0.95 * least - 1 && (got <= 1.05 * most + 1 || seen.queue_in_times)) return "";
  return fmt::format("expected a median of {:.3f} ms, measured {:.3f} ms over {} packets",
                     prescribed_ms(shape, 0.5), got, held.count());
}

double rate_seen(const PacketCounts& counts) {
  return counts.busy_ns > 0
             ? static_cast<double>(counts.busy_bytes) * 1e9 / static_cast<double>(counts.busy_ns)
             : 0;
}

std::string doubt_of_rate(const RateShape& rate, const PacketCounts& counts) {
  // Less than some packets' worth of time says little about a rate.
  if (counts.busy_bytes < 10 * 1500)
    return "the traffic did not ask for more than the rate: nothing was held back";
  const double got = rate_seen(counts);
  // Late timers waste some of it.
  if (got <= 1.1 * rate.bytes_per_second && got >= 0.8 * rate.bytes_per_second) return "";
  const Rate asked{std::llround(rate.bytes_per_second)};
  return fmt::format("expected {}, measured {} while packets waited", readable(rate.bytes_per_second, asked),
                     readable(got, asked));
}

std::string doubt(const Impairment& what, const PacketsSeen& seen, const OneWay& way) {
  if (way.packets == 0 && way.counts.losses.came == 0)
    return way.holding ? fmt::format("no packet was through its delay yet; {} wait", way.holding)
           : what.each_packet() && what.delay.delay_ns == 0 ? "no packet matched: none was hit"
                                                            : "no packet matched: nothing was delayed";
  if (seen.level < 1 && what.each_packet() && way.counts.losses.came == 0) return "still being ramped up";
  std::vector<std::string> reasons;
  auto add = [&](std::string reason) {
    if (!reason.empty()) reasons.push_back(std::move(reason));
  };
  const bool everything_lost = what.loss && what.loss->share() >= 1;
  if ((what.delay.delay_ns > 0 && !everything_lost) || !what.each_packet()) {
    add(doubt_of_delay(what.delay, seen, way));
    add(doubt_of_spread(what.delay, seen, *way.held));
  }
  for (auto& share : shares(what, way.counts, seen.corrupted_seen))
    add(unseen(share, seen) ? seen.corruption_unseen : doubt(share));
  if (what.rate) add(doubt_of_rate(*what.rate, way.counts));
  return fmt::format("{}", fmt::join(reasons, "; "));
}

// Each way for itself; what is true of all is said once.
std::string doubt(const Impairment& what, const PacketsSeen& seen) {
  std::vector<std::string> reasons;
  for (auto& way : seen.ways)
    reasons.push_back(doubt(what, seen, way));
  if (std::adjacent_find(reasons.begin(), reasons.end(), std::not_equal_to<>{}) == reasons.end())
    return reasons.empty() ? "" : reasons.front();
  std::vector<std::string> told;
  for (std::size_t i = 0; i < reasons.size(); ++i)
    if (!reasons[i].empty())
      told.push_back(
          fmt::format("direction {}: {}", seen.ways[i].way == Way::out ? "out" : "in", reasons[i]));
  return fmt::format("{}", fmt::join(told, "; "));
}

// What was done besides what was asked for: a few of many are no matter.
std::string beyond(const PacketsSeen& seen, std::uint64_t packets) {
  const auto share = [&](std::uint64_t some) { return part(some, packets + seen.lost); };
  std::vector<std::string> reasons;
  if (share(seen.lost) > 0.005)
    reasons.push_back(
        fmt::format("{} packets, {:.2g} % of {}, were lost besides, which nobody asked for: somebody removed "
                    "a netfilter hook of this network namespace or a queue of the host's was full",
                    seen.lost, 100 * share(seen.lost), packets + seen.lost));
  if (share(seen.overflowed) > 0.05)
    reasons.push_back(
        fmt::format("{} packets of {} passed as they were: too many waited", seen.overflowed, packets));
  return fmt::format("{}", fmt::join(reasons, "; "));
}

struct Total {
  HoldTimes held;
  PacketCounts counts;
  std::uint64_t packets = 0;
};

Total total_of(const PacketsSeen& seen) {
  Total out;
  for (auto& way : seen.ways) {
    out.held.add(*way.held);
    out.counts += way.counts;
    out.packets += std::max(way.packets, way.counts.losses.came);
  }
  return out;
}

void tell_delay(Dose& out, const DelayShape& shape, const HoldTimes& held) {
  out.prescribed["delay_ms"] =
      static_cast<double>(shape.samples ? prescribed_median_ns(shape) : shape.delay_ns) / 1e6;
  if (shape.jitter_ns && !shape.samples)
    out.prescribed["jitter_ms"] = static_cast<double>(shape.jitter_ns) / 1e6;
  if (shape.jitter_ns) out.prescribed["spread_ms"] = told(prescribed_spread_ms(shape));
  if (!held.count()) return;
  out.measured["delay_ms"] = told(held.quantile_ms(0.5));
  out.measured["delay_p99_ms"] = told(held.quantile_ms(0.99));
  if (shape.jitter_ns) out.measured["spread_ms"] = told(spread_ms(held));
}

void tell_loss(Dose& out, const LossShape& loss, const LossCounts& losses) {
  if (loss.mean_burst() > 0) out.prescribed["loss_burst_packets"] = told(loss.mean_burst());
  if (losses.bursts) out.measured["loss_burst_packets"] = told(part(losses.lost, losses.bursts));
}

}  // namespace

Dose packet_dose(const Impairment& what, const PacketsSeen& seen) {
  Dose out;
  const auto all = total_of(seen);
  out.measured["packets"] = all.packets;
  if (what.delay.delay_ns || what.delay.jitter_ns || !what.each_packet())
    tell_delay(out, what.delay, all.held);
  for (auto& share : shares(what, all.counts, seen.corrupted_seen)) {
    out.prescribed[share.name] = told_percent(share.asked);
    if (share.all && !unseen(share, seen))
      out.measured[share.name] = told_percent(part(share.some, share.all));
  }
  if (what.loss && seen.sees_bursts) tell_loss(out, *what.loss, all.counts.losses);
  if (what.rate) {
    out.prescribed["rate_bytes_per_second"] = what.rate->bytes_per_second;
    // Of each direction, on average.
    if (all.counts.busy_ns) out.measured["rate_bytes_per_second"] = std::round(rate_seen(all.counts));
    out.measured["queue_full_packets"] = all.counts.queue_full;
  }
  if (seen.overflowed) out.measured["undelayed_packets"] = seen.overflowed;
  if (seen.lost) out.measured["lost_packets"] = seen.lost;
  if (seen.interpolated) out.measured["interpolated_packets"] = seen.interpolated;
  if (seen.refused) out.measured["device_full_packets"] = seen.refused;
  out.samples = what.each_packet() ? all.counts.losses.came : all.held.count();
  out.reason = doubt(what, seen);
  if (const auto more = beyond(seen, all.packets); !more.empty())
    out.reason += (out.reason.empty() ? "" : "; ") + more;
  out.verified = out.reason.empty();
  return out;
}

}  // namespace squall::faults
