#include "scenarios/model/scenario.hpp"

namespace squall {
namespace {

constexpr Duration day{86'400'000'000'000};
constexpr Duration hour{3'600'000'000'000};

enum class About { service, alert, other_alerts };

struct Key {
  std::string_view name;
  About about;
};

constexpr std::array keys{Key{"service", About::service},
                          Key{"availability", About::service},
                          Key{"latency_p50", About::service},
                          Key{"latency_p90", About::service},
                          Key{"latency_p99", About::service},
                          Key{"latency_max", About::service},
                          Key{"recovers_within", About::service},
                          Key{"alert", About::alert},
                          Key{"labels", About::alert},
                          Key{"fires_within", About::alert},
                          Key{"resolves_within", About::alert},
                          Key{"reaches", About::alert},
                          Key{"other_alerts", About::other_alerts}};

std::string_view subject(About about) {
  switch (about) {
    case About::service:
      return "service";
    case About::alert:
      return "alert";
    case About::other_alerts:
      return "other_alerts";
  }
  return "";
}

std::string_view article(About about) {
  switch (about) {
    case About::service:
      return "a service";
    case About::alert:
      return "an alert";
    case About::other_alerts:
      return "the other alerts";
  }
  return "";
}

std::optional<About> about(std::string_view name) {
  for (auto& key : keys)
    if (key.name == name) return key.about;
  return std::nullopt;
}

// The entry's subject; what has none, or is about something else, is reported.
std::optional<About> find_subject(const Value& value, Diagnostics& diagnostics) {
  std::optional<About> found;
  for (auto& member : value.members) {
    const auto kind = about(member.key);
    if (kind && !found && member.key == subject(*kind)) found = kind;
  }
  if (!found) {
    for (auto& member : value.members)
      if (auto kind = about(member.key)) {
        diagnostics.error(value.place, fmt::format("missing key \"{}\": \"{}\" says something about {}",
                                                   subject(*kind), member.key, article(*kind)));
        return found;
      }
    diagnostics.error(value.place,
                      "expected an expectation about a service, an alert or other_alerts, got none of them");
    return found;
  }
  for (auto& member : value.members)
    if (auto kind = about(member.key); kind && *kind != *found)
      diagnostics.error(member.place,
                        fmt::format("\"{}\" says something about {}, this entry is about {}: write it as an "
                                    "entry of its own",
                                    member.key, article(*kind), article(*found)));
  return found;
}

template <class T>
void check_direction(const Value& value, std::string_view key, const std::optional<Comparison<T>>& bound,
                     bool upward, std::string_view example, Diagnostics& diagnostics) {
  if (!bound) return;
  const auto c = bound->comparator;
  const bool fits = upward ? c == Comparator::at_least || c == Comparator::greater
                           : c == Comparator::at_most || c == Comparator::less;
  const bool exact = c == Comparator::equal && std::is_same_v<T, Percent>;  // all of the probes, or none
  if (fits || exact) return;
  diagnostics.error(value.find(key)->place,
                    fmt::format("expected {} bound such as \"{}\", got \"{}\"",
                                upward ? "a lower" : "an upper", example, to_string(*bound)));
}

template <class T>
void check_latencies(const T& entry, const Value& value, bool upward, Diagnostics& diagnostics) {
  const auto* example = upward ? "> 2s" : "<= 400ms";
  check_direction(value, "latency_p50", entry.latency_p50, upward, example, diagnostics);
  check_direction(value, "latency_p90", entry.latency_p90, upward, example, diagnostics);
  check_direction(value, "latency_p99", entry.latency_p99, upward, example, diagnostics);
}

// A bound that every value keeps, or none can, is a slip of the pen.
void check_possible(const Value& value, const std::optional<Comparison<Percent>>& bound,
                    Diagnostics& diagnostics) {
  if (!bound) return;
  const double b = bound->bound.value;
  const auto c = bound->comparator;
  if ((c == Comparator::greater && b >= 100) || (c == Comparator::less && b <= 0))
    diagnostics.error(value.find("availability")->place,
                      fmt::format("expected a bound that can be met, got \"{}\"", to_string(*bound)));
  if ((c == Comparator::at_least && b <= 0) || (c == Comparator::at_most && b >= 100))
    diagnostics.error(value.find("availability")->place,
                      fmt::format("expected a bound that can be missed, got \"{}\"", to_string(*bound)));
}

void check_expectation(const Expectation& entry, const Value& value, Diagnostics& diagnostics) {
  const auto subject_kind = find_subject(value, diagnostics);
  if (!subject_kind) return;
  if (*subject_kind == About::service && describe(entry).empty())
    diagnostics.error(value.place,
                      fmt::format("nothing is expected of service \"{}\": add availability, latency_p50, "
                                  "latency_p90, latency_p99, latency_max or recovers_within",
                                  *entry.service));
  if (entry.other_alerts && *entry.other_alerts != "none" && *entry.other_alerts != "any")
    diagnostics.error(value.find("other_alerts")->place,
                      fmt::format("expected none or any, got {}", quote(*entry.other_alerts)));
  check_direction(value, "availability", entry.availability, true, ">= 99%", diagnostics);
  check_possible(value, entry.availability, diagnostics);
  check_latencies(entry, value, false, diagnostics);
  check_direction(value, "latency_max", entry.latency_max, false, "<= 400ms", diagnostics);
}

void check_halt(const HaltCondition& halt, const Value& value, Diagnostics& diagnostics) {
  if (!halt.availability && !halt.latency_p50 && !halt.latency_p90 && !halt.latency_p99)
    diagnostics.error(
        value.place,
        fmt::format("nothing would halt the drill on service \"{}\": add availability, latency_p50, "
                    "latency_p90 or latency_p99",
                    halt.service));
  check_direction(value, "availability", halt.availability, false, "< 90%", diagnostics);
  check_possible(value, halt.availability, diagnostics);
  check_latencies(halt, value, true, diagnostics);
}

template <class T>
void add_criterion(std::vector<std::string>& out, std::string_view service, std::string_view what,
                   const std::optional<Comparison<T>>& bound) {
  if (bound) out.push_back(fmt::format("service {}: {} {}", service, what, to_string(*bound)));
}

// An alert is judged as one whole: "alert X{part="a"} fires within 30s, reaches storage and resolves within
// 1m". Its labels tell it from other expectations on an alert of that name.
std::string describe_alert(const Expectation& entry) {
  std::vector<std::string> labels;
  for (auto& [key, value] : entry.labels)
    labels.push_back(fmt::format("{}=\"{}\"", key, value));
  const auto name =
      labels.empty() ? *entry.alert : fmt::format("{}{{{}}}", *entry.alert, fmt::join(labels, ", "));
  std::vector<std::string> parts{"fires"};
  if (entry.fires_within) parts[0] += " within " + to_string(*entry.fires_within);
  if (entry.reaches) parts.push_back("reaches " + *entry.reaches);
  if (entry.resolves_within) parts.push_back("resolves within " + to_string(*entry.resolves_within));
  const auto last = parts.back();
  parts.pop_back();
  return parts.empty() ? fmt::format("alert {} {}", name, last)
                       : fmt::format("alert {} {} and {}", name, fmt::join(parts, ", "), last);
}

boost::json::object one_subject() {
  boost::json::array one_of;
  for (auto name : {"service", "alert", "other_alerts"})
    one_of.push_back({{"required", boost::json::array{name}}});
  return {{"oneOf", std::move(one_of)}};
}

}  // namespace

std::vector<std::string> describe(const Expectation& entry) {
  std::vector<std::string> out;
  if (entry.service) {
    add_criterion(out, *entry.service, "availability", entry.availability);
    add_criterion(out, *entry.service, "p50 latency", entry.latency_p50);
    add_criterion(out, *entry.service, "p90 latency", entry.latency_p90);
    add_criterion(out, *entry.service, "p99 latency", entry.latency_p99);
    add_criterion(out, *entry.service, "longest latency", entry.latency_max);
    if (entry.recovers_within)
      out.push_back(
          fmt::format("service {} recovers within {}", *entry.service, to_string(*entry.recovers_within)));
  }
  if (entry.alert) out.push_back(describe_alert(entry));
  if (entry.other_alerts)
    out.push_back(*entry.other_alerts == "none" ? "no other alert fires" : "other alerts may fire");
  return out;
}

std::string describe(const HaltCondition& halt) {
  std::vector<std::string> criteria;
  auto add = [&](std::string_view what, const auto& bound) {
    if (bound) criteria.push_back(fmt::format("{} {}", what, to_string(*bound)));
  };
  add("availability", halt.availability);
  add("p50 latency", halt.latency_p50);
  add("p90 latency", halt.latency_p90);
  add("p99 latency", halt.latency_p99);
  return fmt::format("service {}: {} over {}", halt.service, fmt::join(criteria, " or "),
                     to_string(halt.over));
}

const Object<Expectation>& Describe<Expectation>::object() {
  static const auto object =
      Object<Expectation>("what must hold: of a service, of an alert, or of the other alerts")
          .optional("service", &Expectation::service, "the service it is about")
          .optional("availability", &Expectation::availability,
                    "share of probes that succeed, during the method")
          .optional("latency_p50", &Expectation::latency_p50,
                    "median of the probes' latency, during the method")
          .optional("latency_p90", &Expectation::latency_p90,
                    "90th percentile of the latency, during the method")
          .optional("latency_p99", &Expectation::latency_p99,
                    "99th percentile of the latency, during the method")
          .optional("latency_max", &Expectation::latency_max, "the longest latency, during the method")
          .optional("recovers_within", &Expectation::recovers_within,
                    "back in its steady state, after the last fault's end; after a kill, from the death on")
          .between(&Expectation::recovers_within, Duration{0}, day)
          .optional("alert", &Expectation::alert, "the alert it is about")
          .optional("labels", &Expectation::labels, "which the alert must carry")
          .optional("fires_within", &Expectation::fires_within, "after the first fault's start")
          .between(&Expectation::fires_within, Duration{0}, day)
          .optional("resolves_within", &Expectation::resolves_within,
                    "after the last fault's end; after a kill, from the death on")
          .between(&Expectation::resolves_within, Duration{0}, day)
          .optional("reaches", &Expectation::reaches, "the squad whose receiver must be notified")
          .optional("other_alerts", &Expectation::other_alerts,
                    "none or any: whether alerts that are not expected may fire")
          .rest([](const Value& value, Expectation& entry, Diagnostics&) {
            entry.place = value.place;
            return true;
          })
          .rule(check_expectation)
          .keywords(one_subject());
  return object;
}

const Object<HaltCondition>& Describe<HaltCondition>::object() {
  static const auto object =
      Object<HaltCondition>("when to stop the drill at once and undo everything")
          .required("service", &HaltCondition::service, "the service it watches")
          .optional("availability", &HaltCondition::availability, "share of probes that succeed")
          .optional("latency_p50", &HaltCondition::latency_p50, "median of the probes' latency")
          .optional("latency_p90", &HaltCondition::latency_p90, "90th percentile of the latency")
          .optional("latency_p99", &HaltCondition::latency_p99, "99th percentile of the latency")
          .optional("over", &HaltCondition::over, "the window it is judged over", "5s")
          .between(&HaltCondition::over, Duration{100'000'000}, hour)
          .rule(check_halt);
  return object;
}

}  // namespace squall
