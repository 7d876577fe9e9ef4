#include "reports/judge/differences.hpp"

#include <cmath>
#include <optional>

#include "reports/record/text.hpp"

namespace squall {
namespace {

struct Band {
  std::optional<double> low, high;
};

enum class Change { better, worse, none };

Change change(const Band& first, const Band& second, bool more_is_better) {
  const bool up = first.high && second.low && *second.low > *first.high;
  const bool down = first.low && second.high && *second.high < *first.low;
  return !up && !down ? Change::none : up == more_is_better ? Change::better : Change::worse;
}

std::string told(const std::string& what, const std::string& first, const std::string& second, Change how) {
  return fmt::format("{} {} → {}: {}", what, first, second,
                     how == Change::better  ? "better"
                     : how == Change::worse ? "worse"
                                            : "no difference that could not be chance");
}

void of_figures(const std::string& where, const Figures& a, const Figures& b, std::vector<std::string>& out) {
  if (!a.probes || !b.probes) return;
  out.push_back(told(where + ": availability", text::percent(a.availability), text::percent(b.availability),
                     change({a.availability_ci95.low, a.availability_ci95.high},
                            {b.availability_ci95.low, b.availability_ci95.high}, true)));
  if (!a.latency || !b.latency) return;
  const auto latency = [&](const char* name, double first, const QuantileInterval& one, double second,
                           const QuantileInterval& other) {
    out.push_back(told(fmt::format("{}: {}", where, name), text::milliseconds(first),
                       text::milliseconds(second),
                       change({one.low, one.high}, {other.low, other.high}, false)));
  };
  latency("p50", a.latency->p50_ms, a.latency->p50_ci_ms, b.latency->p50_ms, b.latency->p50_ci_ms);
  latency("p99", a.latency->p99_ms, a.latency->p99_ci_ms, b.latency->p99_ms, b.latency->p99_ci_ms);
}

// One recovery, and one detection, is one observation: how much it differs is told, and no judgement.
std::string of_times(const std::string& what, std::optional<double> first, std::optional<double> second) {
  if (!first && !second) return "";
  const auto text = [](std::optional<double> s) {
    return s ? *s == 0 ? std::string("at once") : text::seconds(*s) : std::string("not seen");
  };
  if (text(first) == text(second)) return "";
  return fmt::format("{} {} → {}{}", what, text(first), text(second),
                     first && second
                         ? fmt::format(" ({}{}, one observation each)", *second > *first ? "+" : "−",
                                       text::seconds(std::abs(*second - *first)))
                         : "");
}

}  // namespace

std::vector<std::string> differences_between(const RunRecord& first, const Verdict& a,
                                             const RunRecord& second, const Verdict& b) {
  std::vector<std::string> out;
  if (first.scenario_name != second.scenario_name)
    out.push_back(fmt::format("these are two different scenarios, {} and {}: what differs may be by that",
                              first.scenario_name, second.scenario_name));
  else if (first.scenario_yaml != second.scenario_yaml)
    out.push_back("the scenario was changed between the two runs");
  if (first.seed != second.seed)
    out.push_back(fmt::format("the seeds are {} and {}: other hosts or targets may have been hit", first.seed,
                              second.seed));
  if (a.kind != b.kind) out.push_back(fmt::format("verdict {} → {}", to_string(a.kind), to_string(b.kind)));
  for (auto& before : a.services)
    for (auto& after : b.services) {
      if (before.service != after.service) continue;
      const auto window = before.windows.find("fault"), other = after.windows.find("fault");
      if (window != before.windows.end() && other != after.windows.end())
        of_figures(fmt::format("service {}, during the faults", before.service), window->second,
                   other->second, out);
      if (auto text = of_times(fmt::format("service {}: back", before.service), before.time_to_recover_s,
                               after.time_to_recover_s);
          !text.empty())
        out.push_back(text);
    }
  for (auto& before : a.alerts)
    for (auto& after : b.alerts) {
      if (before.alert != after.alert || before.labels != after.labels) continue;
      if (before.outcome != after.outcome)
        out.push_back(fmt::format("alert {}: {} → {}", before.alert, to_string(before.outcome),
                                  to_string(after.outcome)));
      if (auto text = of_times(fmt::format("alert {}: fired after", before.alert), before.fired_after_s,
                               after.fired_after_s);
          !text.empty())
        out.push_back(text);
    }
  return out;
}

}  // namespace squall
