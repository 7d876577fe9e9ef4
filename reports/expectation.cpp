#include "reports/expectation.hpp"

#include <algorithm>
#include <cmath>

#include "reports/text.hpp"

namespace squall {
namespace {

constexpr std::int64_t least_samples = 20;

// How many samples it takes that a single bad one does not decide: `rare` is the share that may be bad.
std::int64_t enough_where(double rare) {
  return rare <= 0 ? least_samples : std::max(least_samples, static_cast<std::int64_t>(std::ceil(1 / rare - 1e-6)));
}

template <class T>
bool from_below(const Comparison<T>& bound) {
  return bound.comparator == Comparator::at_least || bound.comparator == Comparator::greater;
}

// The whole interval lies on the wrong side of the bound.
template <class T>
bool surely_missed(const Comparison<T>& wanted, double bound, std::optional<double> low, std::optional<double> high) {
  if (wanted.comparator == Comparator::equal) return (low && *low > bound) || (high && *high < bound);
  if (from_below(wanted)) return high && !wanted.holds(*high, bound);
  return low && !wanted.holds(*low, bound);
}

std::string and_timeouts(const Figures& figures) {
  if (!figures.timeouts) return fmt::format("{} answers", text::count(figures.timed));
  return fmt::format("{} answers and {} timeouts", text::count(figures.timed - figures.timeouts), text::count(figures.timeouts));
}

std::string commonest_error(const Figures& figures) {
  auto most = std::max_element(figures.errors.begin(), figures.errors.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return most == figures.errors.end() || most->first.empty() ? "" : fmt::format(", mostly \"{}\"", most->first);
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::held: return "held";
    case Outcome::violated: return "violated";
    case Outcome::inconclusive: return "inconclusive";
  }
  return "?";
}

std::int64_t enough_for(const Comparison<Percent>& wanted) { return enough_where(from_below(wanted) ? 1 - wanted.bound.fraction() : wanted.bound.fraction()); }
std::int64_t enough_for(double q) { return enough_where(1 - q); }

Finding judge_availability(const Figures& figures, const Comparison<Percent>& wanted) {
  if (!figures.probes) return {Outcome::inconclusive, "no probe was due in this window"};
  const double bound = wanted.bound.fraction();
  auto evidence = fmt::format("{} ({} of {} probes, 95% CI {}{})", text::percent(figures.availability), text::count(figures.ok),
                              text::count(figures.probes), text::percent_interval(figures.availability_ci95), commonest_error(figures));
  const auto needed = enough_for(wanted);
  if (wanted.holds(figures.availability, bound)) {
    if (figures.probes >= needed) return {Outcome::held, std::move(evidence)};
    return {Outcome::inconclusive, fmt::format("{}; it takes {} probes to tell", evidence, text::count(needed))};
  }
  if (surely_missed(wanted, bound, figures.availability_ci95.low, figures.availability_ci95.high)) return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + "; too few probes to tell it from the bound"};
}

Finding judge_latency(const Figures& figures, double q, const Comparison<Duration>& wanted) {
  if (!figures.probes) return {Outcome::inconclusive, "no probe was due in this window"};
  if (!figures.latency) return {Outcome::inconclusive, fmt::format("none of {} probes was answered", text::count(figures.probes))};
  auto& all = *figures.latency;
  const double bound = wanted.bound.milliseconds();
  const double value = q == 1 ? all.max_ms : q == 0.5 ? all.p50_ms : q == 0.9 ? all.p90_ms : all.p99_ms;
  // The maximum is a fact about these samples, not an estimate.
  const auto interval = q == 1 ? QuantileInterval{value, value} : q == 0.5 ? all.p50_ci_ms : q == 0.9 ? all.p90_ci_ms : all.p99_ci_ms;
  auto evidence = fmt::format("{} ({}{})", text::milliseconds(value), and_timeouts(figures),
                              q == 1 ? "" : ", 95% CI " + text::quantile_interval(interval));
  const auto needed = enough_for(q);
  if (wanted.holds(value, bound)) {
    if (figures.timed >= needed) return {Outcome::held, std::move(evidence)};
    return {Outcome::inconclusive, fmt::format("{}; it takes {} answers to tell", evidence, text::count(needed))};
  }
  if (surely_missed(wanted, bound, interval.low, interval.high)) return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + "; too few answers to tell it from the bound"};
}

Finding judge_recovery(const Recovery& recovery, Duration within, double watched_s) {
  if (!recovery.seen) return {Outcome::inconclusive, "no probe was due after the last fault's end"};
  const auto of_them = fmt::format("{} of {} probes after it were bad", text::count(recovery.bad), text::count(recovery.seen));
  if (recovery.seconds) {
    if (*recovery.seconds == 0) return {Outcome::held, fmt::format("was in its steady state all along after the last fault's end ({})", of_them)};
    return {*recovery.seconds <= within.seconds() ? Outcome::held : Outcome::violated,
            fmt::format("back {} after the last fault's end ({})", text::seconds(*recovery.seconds), of_them)};
  }
  if (!recovery.bad)
    return {Outcome::inconclusive, fmt::format("good in the {} watched after the last fault's end, which is too short to be sure ({})", text::seconds(watched_s), of_them)};
  auto evidence = fmt::format("not back in the {} watched after the last fault's end ({})", text::seconds(watched_s), of_them);
  if (watched_s >= within.seconds()) return {Outcome::violated, std::move(evidence)};
  return {Outcome::inconclusive, evidence + ", which is shorter than expected of it"};
}

}  // namespace squall
