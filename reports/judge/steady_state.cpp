#include <algorithm>

#include "reports/judge/service_verdict.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

// What of a service's steady state one of its probes did not find.
void of_probe(const RunRecord& record, const ProbeSeries& series, std::int64_t from_t, std::int64_t to_t,
              bool named, std::vector<std::string>& out) {
  const auto seen = figures(samples_of(record, series), from_t, to_t);
  const auto who =
      fmt::format("service {}{}", series.service, named ? fmt::format(", probe \"{}\"", series.probe) : "");
  if (!seen.probes) return;
  if (!seen.ok) {
    const auto most = std::max_element(seen.errors.begin(), seen.errors.end(),
                                       [](auto& a, auto& b) { return a.second < b.second; });
    return out.push_back(fmt::format("{}: none of {} probes succeeded, mostly \"{}\"", who, seen.probes,
                                     most == seen.errors.end() ? "" : most->first));
  }
  const auto steady = steady_state(record.scenario, series.service);
  auto check = [&](const std::string& what, const Finding& found) {
    if (found.outcome == Outcome::violated)
      out.push_back(fmt::format("{}: {}: {}", who, what, found.evidence));
  };
  if (steady.availability)
    check("availability " + to_string(*steady.availability), judge_availability(seen, *steady.availability));
  auto latency = [&](const char* what, double q, const std::optional<Comparison<Duration>>& bound) {
    if (bound) check(fmt::format("latency {} {}", what, to_string(*bound)), judge_latency(seen, q, *bound));
  };
  latency("p50", 0.5, steady.latency_p50), latency("p90", 0.9, steady.latency_p90);
  latency("p99", 0.99, steady.latency_p99), latency("max", 1, steady.latency_max);
}

}  // namespace

std::vector<std::string> steady_state_problems(const RunRecord& record) {
  std::vector<std::string> out;
  auto baseline = record.windows.find("baseline");
  if (baseline == record.windows.end()) return out;
  const auto to = baseline->second.end_t.value_or(record.last_t);
  for (auto& name : services_of(record)) {
    const auto all_seen = figures(samples_of(record, name), baseline->second.start_t, to);
    if (!all_seen.probes) {
      const auto service = record.scenario.landscape.services.find(name);
      const auto& probes = service->second.probes;
      const bool due = std::any_of(probes.begin(), probes.end(), [&](auto& p) {
        return p.every.ns + p.timeout.ns < to - baseline->second.start_t;
      });
      if (all_seen.unseen)
        out.push_back(fmt::format("service {}: none of {} probes could be asked", name, all_seen.unseen));
      else if (due)
        out.push_back(fmt::format("service {}: no probe was answered", name));
      continue;
    }
    const auto series = probes_of(record, name);
    for (auto* one : series)
      of_probe(record, *one, baseline->second.start_t, to, series.size() > 1, out);
  }
  return out;
}

}  // namespace squall
