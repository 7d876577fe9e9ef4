#include "controller/alerts/lookout.hpp"

#include <fmt/format.h>

namespace squall {
namespace {

// A template in a rule's label ("{{ $labels.squad }}") can become anything.
bool may_carry(const AlertRule& rule, const std::map<std::string, std::string>& labels, std::string& missing) {
  for (auto& [key, value] : labels) {
    auto found = rule.labels.find(key);
    if (found == rule.labels.end() || found->second.find("{{") != std::string::npos || found->second == value) continue;
    missing = fmt::format("{}={}, the rule says {}={}", key, value, key, found->second);
    return false;
  }
  return true;
}

double last_end(const Scenario& scenario) {
  double end = 0;
  for (auto& step : scenario.method) end = std::max(end, step.at.value_or(Duration{}).seconds() + (step.lasts ? step.lasts->seconds() : 10));
  return end;
}

}  // namespace

std::vector<std::string> findings(const Scenario& scenario, const std::vector<AlertRule>& rules) {
  std::vector<std::string> out;
  const bool prometheus = std::any_of(scenario.landscape.alert_sources.begin(), scenario.landscape.alert_sources.end(),
                                      [](auto& s) { return s.kind == AlertSourceSpec::Kind::prometheus; });
  std::vector<std::string> names;
  for (auto& rule : rules) names.push_back(rule.alert);
  for (auto& expectation : scenario.expect) {
    if (!expectation.alert || !prometheus) continue;
    const AlertRule* found = nullptr;
    std::string missing;
    for (auto& rule : rules)
      if (rule.alert == *expectation.alert && (!found || may_carry(rule, expectation.labels, missing))) found = &rule;
    if (!found) {
      const auto close = nearest(*expectation.alert, names);
      out.push_back(fmt::format("no rule of any alert source is called \"{}\"{}: it cannot fire", *expectation.alert,
                                close.empty() ? "" : fmt::format(" (the nearest is \"{}\")", close)));
      continue;
    }
    if (!may_carry(*found, expectation.labels, missing))
      out.push_back(fmt::format("the alert {} is expected with {}", *expectation.alert, missing));
    const double soonest = static_cast<double>(found->for_ns) / 1e9, interval = static_cast<double>(found->interval_ns) / 1e9;
    const auto fires = fmt::format("the rule {} waits {:.0f}s and is evaluated every {:.0f}s", found->alert, soonest, interval);
    if (expectation.fires_within && soonest + 2 * interval > expectation.fires_within->seconds())
      out.push_back(fmt::format("{}: it may fire too late for the expected {}", fires, to_string(*expectation.fires_within)));
    if (soonest > last_end(scenario)) out.push_back(fmt::format("{}: longer than the faults last, so it cannot fire", fires));
  }
  return out;
}

}  // namespace squall
