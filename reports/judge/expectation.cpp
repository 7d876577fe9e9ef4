#include "reports/judge/expectation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "reports/record/text.hpp"

namespace squall {
namespace {

constexpr std::int64_t least_samples = 20;

// How many samples it takes that a single bad one does not decide: `rare` is the share that may be bad.
std::int64_t enough_where(double rare) {
  return rare <= 0 ? least_samples
                   : std::max(least_samples, static_cast<std::int64_t>(std::ceil(1 / rare - 1e-6)));
}

template <class T>
bool from_below(const Comparison<T>& bound) {
  return bound.comparator == Comparator::at_least || bound.comparator == Comparator::greater;
}

// The whole interval lies on the wrong side of the bound.
template <class T>
bool surely_missed(const Comparison<T>& wanted, double bound, std::optional<double> low,
                   std::optional<double> high) {
  if (wanted.comparator == Comparator::equal) return (low && *low > bound) || (high && *high < bound);
  if (from_below(wanted)) return high && !wanted.holds(*high, bound);
  return low && !wanted.holds(*low, bound);
}

std::string and_timeouts(const Figures& figures) {
  if (!figures.timeouts) return fmt::format("{} answers", text::count(figures.timed));
  return fmt::format("{} answers and {} timeouts", text::count(figures.timed - figures.timeouts),
                     text::count(figures.timeouts));
}

std::string commonest_error(const Figures& figures) {
  auto most = std::max_element(figures.errors.begin(), figures.errors.end(),
                               [](auto& a, auto& b) { return a.second < b.second; });
  return most == figures.errors.end() || most->first.empty() ? ""
                                                             : fmt::format(", mostly \"{}\"", most->first);
}

std::string none_seen(const Figures& figures) {
  if (!figures.unseen) return "no probe was due in this window";
  return fmt::format("none of the {} probes that were due says anything of it", text::count(figures.unseen));
}

// For evidence that does not decide because of them.
std::string but_unseen(std::int64_t unseen, std::string_view what) {
  return fmt::format("; {} more {} say nothing, which might turn it", text::count(unseen), what);
}

// The quantile with `unseen` more samples that were all faster, or all slower, than those that were seen.
std::pair<double, double> with_unseen(const std::vector<double>& sorted, std::int64_t unseen, double q) {
  const auto n = static_cast<std::int64_t>(sorted.size()), all = n + unseen;
  const auto rank = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(std::ceil(q * static_cast<double>(all) - 1e-9)), 1, all);
  const auto at = [&](std::int64_t i) { return sorted[static_cast<std::size_t>(i - 1)]; };
  return {rank > unseen ? at(rank - unseen) : 0,
          rank <= n ? at(rank) : std::numeric_limits<double>::infinity()};
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::held:
      return "held";
    case Outcome::violated:
      return "violated";
    case Outcome::inconclusive:
      return "inconclusive";
  }
  return "?";
}

std::int64_t enough_for(const Comparison<Percent>& wanted) {
  return enough_where(from_below(wanted) ? 1 - wanted.bound.fraction() : wanted.bound.fraction());
}
std::int64_t enough_for(double q) {
  return enough_where(1 - q);
}

Finding judge_availability(const Figures& figures, const Comparison<Percent>& wanted) {
  if (!figures.probes) return {Outcome::inconclusive, none_seen(figures)};
  const double bound = wanted.bound.fraction();
  const auto share = [&](std::int64_t ok) {
    return static_cast<double>(ok) / static_cast<double>(figures.probes + figures.unseen);
  };
  const bool at_worst = wanted.holds(share(figures.ok), bound),
             at_best = wanted.holds(share(figures.ok + figures.unseen), bound);
  auto evidence = fmt::format("{} ({} of {} probes, 95% CI {}{})", text::percent(figures.availability),
                              text::count(figures.ok), text::count(figures.probes),
                              text::percent_interval(figures.availability_ci95), commonest_error(figures));
  const auto needed = enough_for(wanted);
  if (wanted.holds(figures.availability, bound)) {
    if (!at_worst || !at_best)
      return {Outcome::inconclusive, evidence + but_unseen(figures.unseen, "probes")};
    if (figures.probes >= needed) return {Outcome::held, std::move(evidence)};
    return {Outcome::inconclusive,
            fmt::format("{}; it takes {} probes to tell", evidence, text::count(needed))};
  }
  if (at_worst || at_best) return {Outcome::inconclusive, evidence + but_unseen(figures.unseen, "probes")};
  if (surely_missed(wanted, bound, figures.availability_ci95.low, figures.availability_ci95.high))
    return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + "; too few probes to tell it from the bound"};
}

Finding judge_latency(const Figures& figures, double q, const Comparison<Duration>& wanted) {
  if (!figures.probes) return {Outcome::inconclusive, none_seen(figures)};
  if (!figures.latency)
    return {Outcome::inconclusive,
            fmt::format("none of {} probes was answered", text::count(figures.probes))};
  auto& all = *figures.latency;
  const double bound = wanted.bound.milliseconds();
  const double value = q == 1 ? all.max_ms : q == 0.5 ? all.p50_ms : q == 0.9 ? all.p90_ms : all.p99_ms;
  // The maximum is a fact about these samples, not an estimate.
  const auto interval = q == 1     ? QuantileInterval{value, value}
                        : q == 0.5 ? all.p50_ci_ms
                        : q == 0.9 ? all.p90_ci_ms
                                   : all.p99_ci_ms;
  auto evidence = fmt::format("{} ({}{})", text::milliseconds(value), and_timeouts(figures),
                              q == 1 ? "" : ", 95% CI " + text::quantile_interval(interval));
  const auto needed = enough_for(q);
  const auto [fastest, slowest] = with_unseen(all.sorted_ms, figures.unseen, q);
  if (wanted.holds(value, bound) != wanted.holds(fastest, bound) ||
      wanted.holds(value, bound) != wanted.holds(slowest, bound))
    return {Outcome::inconclusive, evidence + but_unseen(figures.unseen, "probes")};
  if (wanted.holds(value, bound)) {
    if (figures.timed >= needed) return {Outcome::held, std::move(evidence)};
    return {Outcome::inconclusive,
            fmt::format("{}; it takes {} answers to tell", evidence, text::count(needed))};
  }
  if (surely_missed(wanted, bound, interval.low, interval.high))
    return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + "; too few answers to tell it from the bound"};
}

Finding judge_recovery(const Recovery& recovery, Duration within, double watched_s) {
  if (!recovery.seen) return {Outcome::inconclusive, "no probe was due after the last fault's end"};
  const auto of_them =
      fmt::format("{} of {} probes after it were bad", text::count(recovery.bad), text::count(recovery.seen));
  const auto unseen = fmt::format("; for {} after the last fault's end squall could not ask",
                                  text::seconds(recovery.unseen_s));
  if (recovery.seconds) {
    if (*recovery.seconds == 0 && recovery.unseen_s > within.seconds())
      return {Outcome::inconclusive,
              fmt::format("was in its steady state when it was seen again ({}){}", of_them, unseen)};
    if (*recovery.seconds == 0)
      return {Outcome::held,
              fmt::format("was in its steady state all along after the last fault's end ({})", of_them)};
    if (*recovery.seconds > within.seconds() && *recovery.seconds - recovery.unseen_s <= within.seconds())
      return {Outcome::inconclusive, fmt::format("seen to be back {} after the last fault's end ({}){}",
                                                 text::seconds(*recovery.seconds), of_them, unseen)};
    return {
        *recovery.seconds <= within.seconds() ? Outcome::held : Outcome::violated,
        fmt::format("back {} after the last fault's end ({})", text::seconds(*recovery.seconds), of_them)};
  }
  if (!recovery.bad)
    return {
        Outcome::inconclusive,
        fmt::format("good in the {} watched after the last fault's end, which is too short to be sure ({})",
                    text::seconds(watched_s), of_them)};
  auto evidence = fmt::format("not back in the {} watched after the last fault's end ({})",
                              text::seconds(watched_s), of_them);
  if (watched_s >= within.seconds()) return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + ", which is shorter than expected of it"};
}

Finding judge_service(const std::vector<ProbeFinding>& probes) {
  if (probes.empty()) return {Outcome::inconclusive, "no probe was due in this window"};
  if (probes.size() == 1) return probes.front().finding;
  auto count = [&](Outcome outcome) {
    return std::count_if(probes.begin(), probes.end(),
                         [&](auto& one) { return one.finding.outcome == outcome; });
  };
  const auto decisive = count(Outcome::violated)       ? Outcome::violated
                        : count(Outcome::inconclusive) ? Outcome::inconclusive
                                                       : Outcome::held;
  // Those that decide come first; of the others it is enough that they are there, unless all agree.
  std::vector<std::string> parts;
  for (auto& one : probes)
    if (one.finding.outcome == decisive)
      parts.push_back(fmt::format("{}: {}", one.probe, one.finding.evidence));
  if (const auto others = static_cast<std::size_t>(probes.size()) - parts.size()) {
    auto apart = [&](Outcome outcome) { return outcome == decisive ? 0 : count(outcome); };
    std::vector<std::string> rest;
    if (apart(Outcome::inconclusive))
      rest.push_back(fmt::format("{} inconclusive", apart(Outcome::inconclusive)));
    if (apart(Outcome::held)) rest.push_back(fmt::format("{} held", apart(Outcome::held)));
    parts.push_back(
        fmt::format("of the other {} probe{}: {}", others, others == 1 ? "" : "s", text::join(rest)));
  }
  return {decisive, text::join(parts, "; ")};
}

}  // namespace squall
