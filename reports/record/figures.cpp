#include "reports/record/figures.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace squall {
namespace {

constexpr std::int64_t settled_ns = 2'000'000'000;
constexpr std::size_t settled_samples = 5;

// A probe's timeout, so that what failed by waiting is told from what failed at once.
std::int64_t timeout_of(const RunRecord& record, const ProbeSeries& series) {
  auto service = record.scenario.landscape.services.find(series.service);
  if (service == record.scenario.landscape.services.end()) return 0;
  for (auto& probe : service->second.probes)
    if (probe.name == series.probe) return probe.timeout.ns;
  return 0;
}

bool timed_out(const ProbeSample& sample, std::int64_t timeout_ns) {
  if (sample.ok || sample.unseen) return false;
  return (timeout_ns > 0 && sample.latency_ns >= timeout_ns) ||
         sample.error.find("timed out") != std::string::npos;
}

QuantileInterval interval(const std::vector<double>& sorted, double q) {
  return quantile_interval(sorted, q);
}

template <class T>
void tighten(std::optional<Comparison<T>>& bound, const std::optional<Comparison<T>>& other,
             bool from_below) {
  if (other && (!bound || (from_below ? other->bound > bound->bound : other->bound < bound->bound)))
    bound = other;
}

std::optional<Comparison<Duration>> at_most(const std::optional<Duration>& bound) {
  if (!bound) return std::nullopt;
  return Comparison<Duration>{Comparator::at_most, *bound};
}

// What makes a single sample bad, and which share of bad ones the steady state allows.
struct Tolerance {
  std::optional<double> slow_ms;
  double share = 0.01;
};

Tolerance tolerance(const SteadyState& steady) {
  Tolerance out;
  auto take = [&](const std::optional<Comparison<Duration>>& bound, double share) {
    if (out.slow_ms || !bound) return;
    out = {bound->bound.milliseconds(), share};
  };
  take(steady.latency_p99, 0.01), take(steady.latency_p90, 0.10), take(steady.latency_p50, 0.50),
      take(steady.latency_max, 0.01);
  if (steady.availability) out.share = std::max(out.share, 1 - steady.availability->bound.fraction());
  return out;
}

// A promise bounds availability from below and latency from above; "availability < 50%" expects an outage
// instead, and is no part of a steady state.
template <class T>
std::optional<Comparison<T>> promise(const std::optional<Comparison<T>>& bound, Comparator strict,
                                     Comparator wide) {
  return bound && (bound->comparator == strict || bound->comparator == wide) ? bound : std::nullopt;
}

}  // namespace

std::vector<const ProbeSeries*> probes_of(const RunRecord& record, const std::string& service) {
  std::vector<const ProbeSeries*> out;
  for (auto& series : record.probes)
    if (series.service == service) out.push_back(&series);
  std::sort(out.begin(), out.end(), [](auto* a, auto* b) { return a->probe < b->probe; });
  return out;
}

std::vector<ServiceSample> samples_of(const RunRecord& record, const ProbeSeries& series) {
  std::vector<ServiceSample> out;
  const auto timeout_ns = timeout_of(record, series);
  for (auto& sample : series.samples)
    out.push_back({&sample, timed_out(sample, timeout_ns)});
  return out;
}

std::vector<ServiceSample> samples_of(const RunRecord& record, const std::string& service) {
  std::vector<ServiceSample> out;
  for (auto* series : probes_of(record, service)) {
    const auto of_one = samples_of(record, *series);
    out.insert(out.end(), of_one.begin(), of_one.end());
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.sample->due_ns < b.sample->due_ns; });
  return out;
}

Figures figures(const std::vector<ServiceSample>& samples, std::int64_t from_t, std::int64_t to_t) {
  Figures out;
  std::vector<double> ms;
  for (auto& one : samples) {
    if (one.sample->due_ns < from_t || one.sample->due_ns >= to_t) continue;
    if (one.sample->unseen) {
      ++out.unseen;
      continue;
    }
    ++out.probes;
    out.ok += one.sample->ok;
    out.opened += one.sample->opened;
    out.timeouts += one.timed_out;
    if (!one.sample->ok) ++out.errors[one.sample->error];
    if (one.sample->ok || one.timed_out) ms.push_back(static_cast<double>(one.sample->latency_ns) / 1e6);
  }
  if (out.probes) out.availability = static_cast<double>(out.ok) / static_cast<double>(out.probes);
  out.availability_ci95 = proportion_interval(out.ok, out.probes);
  out.timed = static_cast<std::int64_t>(ms.size());
  if (ms.empty()) return out;
  std::sort(ms.begin(), ms.end());
  out.latency = LatencyFigures{quantile(ms, 0.5), quantile(ms, 0.9), quantile(ms, 0.99), ms.back(),
                               interval(ms, 0.5), interval(ms, 0.9), interval(ms, 0.99), {}};
  out.latency->sorted_ms = std::move(ms);
  return out;
}

SteadyState steady_state(const Scenario& scenario, const std::string& service) {
  SteadyState out;
  if (auto found = scenario.landscape.services.find(service); found != scenario.landscape.services.end()) {
    auto& slo = found->second.slo;
    if (slo.availability) out.availability = Comparison<Percent>{Comparator::at_least, *slo.availability};
    out.latency_p50 = at_most(slo.latency_p50);
    out.latency_p90 = at_most(slo.latency_p90);
    out.latency_p99 = at_most(slo.latency_p99);
  }
  for (auto& e : scenario.expect) {
    if (e.service != service) continue;
    tighten(out.availability, promise(e.availability, Comparator::greater, Comparator::at_least), true);
    auto latency = [](auto& bound, auto& expected) {
      tighten(bound, promise(expected, Comparator::less, Comparator::at_most), false);
    };
    latency(out.latency_p50, e.latency_p50), latency(out.latency_p90, e.latency_p90);
    latency(out.latency_p99, e.latency_p99), latency(out.latency_max, e.latency_max);
  }
  return out;
}

Recovery recovery(const std::vector<ServiceSample>& samples, const SteadyState& steady, std::int64_t from_t,
                  std::int64_t to_t) {
  const auto allowed = tolerance(steady);
  std::vector<const ProbeSample*> after;
  std::vector<std::int64_t> bad_before{0};  // of after[0, i)
  std::vector<std::int64_t>
      unseen_before;  // of after[i]: how long nothing was seen, back to the sample before
  Recovery out;
  std::int64_t seen_t = from_t, unseen_ns = 0;
  bool blind = false;
  for (auto& one : samples) {
    if (one.sample->due_ns < from_t || one.sample->due_ns >= to_t) continue;
    if (one.sample->unseen) {
      blind = true;
      continue;
    }
    if (std::exchange(blind, false)) unseen_ns += one.sample->due_ns - seen_t;
    seen_t = one.sample->due_ns;
    unseen_before.push_back(unseen_ns);
    const bool bad =
        !one.sample->ok ||
        (allowed.slow_ms && static_cast<double>(one.sample->latency_ns) / 1e6 > *allowed.slow_ms);
    after.push_back(one.sample);
    bad_before.push_back(bad_before.back() + bad);
    if (bad) out.last_bad_t = one.sample->due_ns;
  }
  out.seen = static_cast<std::int64_t>(after.size());
  out.bad = bad_before.back();
  if (blind) unseen_ns += to_t - seen_t;
  out.unseen_s = static_cast<double>(unseen_ns) / 1e9;
  auto steady_over = [&](std::size_t i, std::size_t j) {
    return static_cast<double>(bad_before[j] - bad_before[i]) <= allowed.share * static_cast<double>(j - i);
  };
  std::size_t settled = 0;
  for (std::size_t i = 0; i + settled_samples <= after.size(); ++i) {
    while (settled < after.size() && after[settled]->due_ns < after[i]->due_ns + settled_ns)
      ++settled;
    const bool good = bad_before[i + 1] == bad_before[i];
    if (!good || !steady_over(i, std::max(settled, i + settled_samples)) || !steady_over(i, after.size()))
      continue;
    out.seconds =
        bad_before[i] == 0 ? 0 : static_cast<double>(after[i]->due_ns + after[i]->latency_ns - from_t) / 1e9;
    out.unseen_s = static_cast<double>(unseen_before[i]) / 1e9;
    return out;
  }
  return out;
}

}  // namespace squall
