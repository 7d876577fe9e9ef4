#include "controller/alerts/lookout.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/asio/io_context.hpp>

#include "controller/record/run_log.hpp"
#include "reports/judge/alert_story.hpp"

namespace squall {
namespace {

// A template in a rule's label ("{{ $labels.squad }}") can become anything.
bool may_carry(const AlertRule& rule, const std::map<std::string, std::string>& labels,
               std::string& missing) {
  for (auto& [key, value] : labels) {
    auto found = rule.labels.find(key);
    if (found == rule.labels.end() || found->second.find("{{") != std::string::npos || found->second == value)
      continue;
    missing = fmt::format("{}={}, the rule says {}={}", key, value, key, found->second);
    return false;
  }
  return true;
}

double last_end(const Scenario& scenario) {
  double end = 0;
  for (auto& step : scenario.method)
    end = std::max(end, step.at.value_or(Duration{}).seconds() + (step.lasts ? step.lasts->seconds() : 10));
  return end;
}

void about_rules(const Scenario& scenario, const std::vector<AlertRule>& rules,
                 std::vector<std::string>& out) {
  const bool prometheus =
      std::any_of(scenario.landscape.alert_sources.begin(), scenario.landscape.alert_sources.end(),
                  [](auto& s) { return s.kind == AlertSourceSpec::Kind::prometheus; });
  std::vector<std::string> names;
  for (auto& rule : rules)
    names.push_back(rule.alert);
  for (auto& expectation : scenario.expect) {
    if (!expectation.alert || !prometheus) continue;
    const AlertRule* found = nullptr;
    std::string missing;
    for (auto& rule : rules)
      if (rule.alert == *expectation.alert && (!found || may_carry(rule, expectation.labels, missing)))
        found = &rule;
    if (!found) {
      const auto close = nearest(*expectation.alert, names);
      out.push_back(fmt::format("no rule of any alert source is called \"{}\"{}: it cannot fire",
                                *expectation.alert,
                                close.empty() ? "" : fmt::format(" (the nearest is \"{}\")", close)));
      continue;
    }
    if (!may_carry(*found, expectation.labels, missing))
      out.push_back(fmt::format("the alert {} is expected with {}", *expectation.alert, missing));
    const double soonest = static_cast<double>(found->for_ns) / 1e9,
                 interval = static_cast<double>(found->interval_ns) / 1e9;
    const auto fires = fmt::format("the rule {} waits {:.0f}s and is evaluated every {:.0f}s", found->alert,
                                   soonest, interval);
    if (expectation.fires_within && soonest + 2 * interval > expectation.fires_within->seconds())
      out.push_back(fmt::format("{}: it may fire too late for the expected {}", fires,
                                to_string(*expectation.fires_within)));
    if (soonest > last_end(scenario))
      out.push_back(fmt::format("{}: longer than the faults last, so it cannot fire", fires));
  }
}

std::string seconds(std::int64_t ns) {
  return fmt::format("{:g}s", static_cast<double>(ns) / 1e9);
}

// What Alertmanager will do with an alert of these labels, where its squad might wait in vain.
void about_route(const Scenario& scenario, const std::string& alert, const std::string& squad,
                 const std::vector<Routing::Match>& matches, const std::set<std::string>& open_groups,
                 std::vector<std::string>& out) {
  const auto squads = known_squads(scenario);
  std::vector<std::string> receivers;
  const Routing::Match* mine = nullptr;
  for (auto& match : matches) {
    receivers.push_back(match.receiver);
    if (squad_of(match.receiver, {}, squads, scenario.landscape.squads) == squad) mine = &match;
  }
  if (!mine) {
    if (!receivers.empty())
      out.push_back(
          fmt::format("Alertmanager sends {} to the receiver {}, which is not known as {}'s (name it in the "
                      "squad's receivers: if it is)",
                      alert, fmt::join(receivers, ", "), squad));
    return;
  }
  const auto& route = mine->route;
  if (!route.muted_by.empty())
    out.push_back(fmt::format("{} is muted now by the time interval {} of its route to {}", alert,
                              fmt::join(route.muted_by, ", "), mine->receiver));
  const double lasts = last_end(scenario);
  const bool open = open_groups.contains(mine->receiver + " " + route.group);
  if (!open && static_cast<double>(route.wait_ns) / 1e9 > lasts)
    out.push_back(fmt::format(
        "{} is told of after {} at the earliest (group_wait of the route to {}), longer than the faults last",
        alert, seconds(route.wait_ns), mine->receiver));
  if (open && static_cast<double>(route.interval_ns) / 1e9 > lasts)
    out.push_back(
        fmt::format("another alert of its group fires already: {} is told of after up to {} (group_interval "
                    "of the route to {})",
                    alert, seconds(route.interval_ns), mine->receiver));
  if (route.max_alerts)
    out.push_back(
        fmt::format("a notification to {} holds {} at most (max_alerts): {} may be left out", mine->receiver,
                    route.max_alerts == 1 ? "one alert" : fmt::format("{} alerts", route.max_alerts), alert));
}

void about_routes(const Scenario& scenario, const std::vector<AlertRule>& rules,
                  const ManagerOutlook& manager, std::vector<std::string>& out) {
  for (auto& expectation : scenario.expect) {
    if (!expectation.alert || !expectation.reaches) continue;
    std::map<std::string, std::string> labels{{"alertname", *expectation.alert}};
    std::string missing;
    for (auto& rule : rules)
      if (rule.alert == *expectation.alert && may_carry(rule, expectation.labels, missing))
        for (auto& [key, value] : rule.labels)
          if (value.find("{{") == std::string::npos) labels[key] = value;
    for (auto& [key, value] : expectation.labels)
      labels[key] = value;
    about_route(scenario, *expectation.alert, *expectation.reaches,
                manager.routing->match(labels, manager.wall_ns), manager.open_groups, out);
  }
}

}  // namespace

std::vector<std::string> findings(const Scenario& scenario, const std::vector<AlertRule>& rules,
                                  const ManagerOutlook& manager) {
  std::vector<std::string> out;
  about_rules(scenario, rules, out);
  if (manager.routing) about_routes(scenario, rules, manager, out);
  return out;
}

std::string group_of(const AlertEvent& event) {
  return event.state == AlertState::routed && event.route ? event.receiver + " " + event.route->group : "";
}

std::vector<std::string> witnesses(const Scenario& scenario) {
  using Kind = AlertSourceSpec::Kind;
  auto one = [&](Kind kind) {
    auto found =
        std::find_if(scenario.landscape.alert_sources.begin(), scenario.landscape.alert_sources.end(),
                     [&](auto& source) { return source.kind == kind; });
    return found == scenario.landscape.alert_sources.end() ? std::string() : found->address;
  };
  std::vector<std::string> out;
  const auto webhook = one(Kind::webhook), alertmanager = one(Kind::alertmanager);
  for (auto& expectation : scenario.expect) {
    if (!expectation.reaches) continue;
    const auto what =
        fmt::format("that {} reaches {}", expectation.alert.value_or("an alert"), *expectation.reaches);
    if (!webhook.empty())
      out.push_back(fmt::format(
          "{} is seen by what Alertmanager delivers to the webhook {}: a receiver has to post there", what,
          webhook));
    else if (!alertmanager.empty())
      out.push_back(
          fmt::format("{} is told by Alertmanager's routing alone (routed to, not delivered); a webhook "
                      "among alert_sources would see the delivery",
                      what));
  }
  return out;
}

std::vector<std::string> ask_for_findings(const Scenario& scenario) {
  boost::asio::io_context io;
  std::vector<AlertSourceSpec> asked;
  for (auto& source : scenario.landscape.alert_sources)
    if (source.kind != AlertSourceSpec::Kind::webhook) asked.push_back(source);
  std::vector<std::string> out;
  std::vector<AlertRule> rules;
  std::optional<Routing> routing;
  std::set<std::string> open_groups;
  bool answered = !asked.empty();
  AlertWatch watch{io,
                   asked,
                   {[&](const AlertEvent& event) { open_groups.insert(group_of(event)); },
                    [&](const AlertSourceHealth& health) {
                      answered = answered && health.ok;
                      if (!health.ok)
                        out.push_back(fmt::format("{} {} could not be asked: {}", health.source,
                                                  health.address, health.error));
                      else if (!health.blind.empty())
                        out.push_back(fmt::format("{} {} could not tell of an alert: {}", health.source,
                                                  health.address, health.blind));
                    },
                    [&](const AlertRule& rule) { rules.push_back(rule); },
                    [&](const Routing& read) { routing = read; },
                    {}}};
  watch.run([&io] { io.stop(); });
  io.run_for(std::chrono::seconds{5});
  if (answered)
    for (auto& text :
         findings(scenario, rules, {routing ? &*routing : nullptr, wall_clock_ns(), open_groups}))
      out.push_back(text);
  return out;
}

}  // namespace squall
