#include "scenarios/scenario.hpp"

#include <regex>

namespace squall {
namespace {

std::string labels_text(const std::map<std::string, std::string>& labels) {
  std::string out;
  for (auto& [key, value] : labels) out += fmt::format("{}{}={}", out.empty() ? "" : ", ", key, value);
  return out.empty() ? "" : fmt::format(" {{{}}}", out);
}

// An entry speaks of one thing only, and says something about it.
void check_expectation(const Expectation& e, const Value& in, Diagnostics& diagnostics) {
  const int subjects = (e.service ? 1 : 0) + (e.alert ? 1 : 0) + (e.other_alerts ? 1 : 0);
  if (subjects != 1) {
    diagnostics.error(in.place, subjects ? "expected one of service, alert, other_alerts in an entry, got several"
                                         : "expected one of service, alert, other_alerts");
    return;
  }
  auto belongs = [&](const char* key, bool allowed, const char* to) {
    if (auto* given = in.find(key); given && !allowed)
      diagnostics.error(given->place, fmt::format("\"{}\" belongs to expectations about {}", key, to));
  };
  for (auto* key : {"availability", "latency_p50", "latency_p90", "latency_p99", "latency_max", "recovers_within"})
    belongs(key, e.service.has_value(), "a service");
  for (auto* key : {"labels", "fires_within", "resolves_within", "reaches"}) belongs(key, e.alert.has_value(), "an alert");
  if (e.service && describe(e).empty())
    diagnostics.error(in.place, "expected what the service shall do: availability, a latency or recovers_within");
  if (e.other_alerts && *e.other_alerts != "none" && *e.other_alerts != "any")
    diagnostics.error(in.find("other_alerts")->place, fmt::format("expected none or any, got \"{}\"", *e.other_alerts));
}

}  // namespace

std::vector<std::string> describe(const Expectation& e) {
  std::vector<std::string> out;
  if (e.service) {
    const auto about = fmt::format("service {}: ", *e.service);
    auto latency = [&](const char* name, const auto& bound) {
      if (bound) out.push_back(fmt::format("{}latency {} {}", about, name, to_string(*bound)));
    };
    if (e.availability) out.push_back(fmt::format("{}availability {}", about, to_string(*e.availability)));
    latency("p50", e.latency_p50), latency("p90", e.latency_p90), latency("p99", e.latency_p99), latency("max", e.latency_max);
    if (e.recovers_within) out.push_back(fmt::format("{}recovers within {}", about, to_string(*e.recovers_within)));
  }
  if (e.alert) {
    auto text = fmt::format("alert {}{} fires", *e.alert, labels_text(e.labels));
    if (e.fires_within) text += fmt::format(" within {}", to_string(*e.fires_within));
    if (e.reaches) text += fmt::format(", reaches {}", *e.reaches);
    if (e.resolves_within) text += fmt::format(", resolves within {}", to_string(*e.resolves_within));
    out.push_back(text);
  }
  if (e.other_alerts) out.push_back(*e.other_alerts == "none" ? "no other alert fires" : "other alerts may fire");
  return out;
}

std::string describe(const HaltCondition& h) {
  std::string out;
  auto add = [&](const char* name, const auto& bound) {
    if (bound) out += fmt::format("{}{} {}", out.empty() ? "" : " or ", name, to_string(*bound));
  };
  add("availability", h.availability), add("latency p50", h.latency_p50), add("latency p90", h.latency_p90);
  add("latency p99", h.latency_p99);
  return fmt::format("service {}: {} over {}", h.service, out, to_string(h.over));
}

const Object<BlastRadius>& Describe<BlastRadius>::object() {
  static const auto schema = Object<BlastRadius>{"a drill that would touch more than this is refused"}
                                 .optional("hosts", &BlastRadius::hosts, "at most so many hosts", "1")
                                 .between(&BlastRadius::hosts, std::int64_t{1}, std::int64_t{100'000})
                                 .optional("share", &BlastRadius::share, "at most such a share of the landscape's hosts");
  return schema;
}

const Object<Ramp>& Describe<Ramp>::object() {
  static const auto schema = Object<Ramp>{"how the dose grows"}
                                 .required("up", &Ramp::up, "from nothing to the full dose in this time")
                                 .between(&Ramp::up, Duration{1'000'000}, Duration{86'400'000'000'000});
  return schema;
}

const Object<Step>& Describe<Step>::object() {
  static const auto schema =
      Object<Step>{"one fault on its place in the timeline"}
          .optional("name", &Step::name, "as reports call it", "the fault's name")
          .required("fault", &Step::fault, "the fault, such as network.delay")
          .optional("on", &Step::on, "which hosts, and what there")
          .optional("with", &Step::with, "the fault's parameters")
          .optional("at", &Step::at, "when, after the method's start", "0s")
          .optional("after", &Step::after, "starts when this step has ended")
          .optional("for", &Step::lasts, "how long")
          .between(&Step::lasts, Duration{1'000'000}, Duration{86'400'000'000'000})
          .optional("ramp", &Step::ramp, "grows to its full dose")
          .rest([](const Value& in, Step& out, Diagnostics&) {
            out.place = in.place;
            auto* fault = in.find("fault");
            out.fault_place = fault ? fault->place : in.place;
            if (out.name.empty()) out.name = out.fault;
            return true;
          })
          .rule([](const Step& step, const Value& in, Diagnostics& diagnostics) {
            if (step.at && step.after) diagnostics.error(in.find("after")->place, "expected either at or after, got both");
            if (step.ramp && step.lasts && step.ramp->up > *step.lasts)
              diagnostics.error(in.find("ramp")->place, fmt::format("the ramp ({}) is longer than the fault ({})",
                                                                    to_string(step.ramp->up), to_string(*step.lasts)));
          });
  return schema;
}

const Object<Expectation>& Describe<Expectation>::object() {
  static const auto schema =
      Object<Expectation>{"what is expected of a service, of an alert, or of all other alerts"}
          .optional("service", &Expectation::service, "a service of the landscape")
          .optional("availability", &Expectation::availability, "of the service while the faults last, such as \">= 99%\"")
          .optional("latency_p50", &Expectation::latency_p50, "of the service, such as \"<= 50ms\"")
          .optional("latency_p90", &Expectation::latency_p90, "of the service, such as \"<= 200ms\"")
          .optional("latency_p99", &Expectation::latency_p99, "of the service, such as \"<= 400ms\"")
          .optional("latency_max", &Expectation::latency_max, "of the service, such as \"<= 2s\"")
          .optional("recovers_within", &Expectation::recovers_within, "back in its steady state so soon after the last fault's end")
          .optional("alert", &Expectation::alert, "the name of an alert that has to fire")
          .optional("labels", &Expectation::labels, "labels the alert must carry")
          .optional("fires_within", &Expectation::fires_within, "so soon after the first fault's start")
          .optional("resolves_within", &Expectation::resolves_within, "so soon after the last fault's end")
          .optional("reaches", &Expectation::reaches, "the squad whose receiver must be notified")
          .optional("other_alerts", &Expectation::other_alerts, "none: any other alert is a violation; any: they may fire")
          .rest([](const Value& in, Expectation& out, Diagnostics&) {
            out.place = in.place;
            return true;
          })
          .rule(check_expectation);
  return schema;
}

const Object<HaltCondition>& Describe<HaltCondition>::object() {
  static const auto schema =
      Object<HaltCondition>{"the drill is undone at once when this comes true"}
          .required("service", &HaltCondition::service, "a service of the landscape")
          .optional("availability", &HaltCondition::availability, "such as \"< 90%\"")
          .optional("latency_p50", &HaltCondition::latency_p50, "such as \"> 1s\"")
          .optional("latency_p90", &HaltCondition::latency_p90, "such as \"> 1s\"")
          .optional("latency_p99", &HaltCondition::latency_p99, "such as \"> 2s\"")
          .optional("over", &HaltCondition::over, "the window it is judged over", "5s")
          .between(&HaltCondition::over, Duration{100'000'000}, Duration{3'600'000'000'000})
          .rule([](const HaltCondition& h, const Value& in, Diagnostics& diagnostics) {
            if (!h.availability && !h.latency_p50 && !h.latency_p90 && !h.latency_p99)
              diagnostics.error(in.place, "expected when to halt: availability or a latency");
          });
  return schema;
}

const Object<Window>& Describe<Window>::object() {
  static const auto schema = Object<Window>{"a window of time"}
                                 .required("for", &Window::lasts, "how long, such as 15s")
                                 .between(&Window::lasts, Duration{0}, Duration{86'400'000'000'000});
  return schema;
}

const Object<Scenario>& Describe<Scenario>::object() {
  static const auto schema =
      Object<Scenario>{"one drill"}
          .required("scenario", &Scenario::name, "its name: lower-case letters, digits and dashes")
          .optional("title", &Scenario::title, "what happens, in a sentence")
          .optional("squad", &Scenario::squad, "who owns the drill")
          .optional("hypothesis", &Scenario::hypothesis, "what is expected to hold, in words")
          .optional("blast_radius", &Scenario::blast_radius, "a drill that would touch more is refused", "one host")
          .optional("baseline", &Scenario::baseline, "the steady state must hold so long before anything is done", "15s")
          .required("method", &Scenario::method, "the faults on their timeline")
          .optional("recovery", &Scenario::recovery, "how long is watched after the last fault", "30s")
          .required("expect", &Scenario::expect, "what must hold")
          .optional("halt_when", &Scenario::halt_when, "what undoes the drill at once")
          .optional("seed", &Scenario::seed, "of every random choice", "a new one each run")
          .rule([](const Scenario& scenario, const Value& in, Diagnostics& diagnostics) {
            static const std::regex form{"[a-z0-9][a-z0-9-]{0,62}"};
            if (!std::regex_match(scenario.name, form))
              diagnostics.error(in.find("scenario")->place,
                                fmt::format("expected a name of lower-case letters, digits and dashes, got \"{}\"", scenario.name));
          });
  return schema;
}

}  // namespace squall
