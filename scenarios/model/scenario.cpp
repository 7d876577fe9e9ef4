#include "scenarios/model/scenario.hpp"

#include "scenarios/text/text.hpp"

namespace squall {
namespace {

constexpr Duration millisecond{1'000'000};
constexpr Duration day{86'400'000'000'000};

bool note_places(const Value& value, Step& step, Diagnostics&) {
  step.place = value.place;
  if (auto* fault = value.find("fault")) step.fault_place = fault->place;
  if (step.with.kind == Value::Kind::null) {  // no parameters given: all of them at their defaults
    step.with = Value::map();
    step.with.place = step.fault_place;
  }
  return true;
}

void check_times(const Step& step, const Value& value, Diagnostics& diagnostics) {
  if (step.at && step.after)
    diagnostics.error(value.find("after")->place, "expected either at or after, got both");
  if (step.ramp && step.lasts && step.ramp->up > *step.lasts)
    diagnostics.error(value.find("ramp")->place,
                      fmt::format("expected a ramp within the fault's {}, got {}", to_string(*step.lasts),
                                  to_string(step.ramp->up)));
}

void check_name(const Scenario& scenario, const Value& value, Diagnostics& diagnostics) {
  const auto problem = slug_problem(scenario.name);
  if (!problem.empty()) diagnostics.error(value.find("scenario")->place, problem);
}

}  // namespace

const Object<BlastRadius>& Describe<BlastRadius>::object() {
  static const auto object =
      Object<BlastRadius>("how much may be hit; a larger selection is refused")
          .optional("hosts", &BlastRadius::hosts, "at most so many hosts",
                    "1, where no share is given either")
          .between(&BlastRadius::hosts, std::int64_t{1}, std::int64_t{1'000'000})
          .optional("share", &BlastRadius::share, "at most such a share of the landscape's hosts")
          .between(&BlastRadius::share, Percent{0.001}, Percent{100});
  return object;
}

const Object<Ramp>& Describe<Ramp>::object() {
  static const auto object = Object<Ramp>("how the dose grows")
                                 .required("up", &Ramp::up, "from nothing to the full dose")
                                 .between(&Ramp::up, millisecond, day);
  return object;
}

const Object<Window>& Describe<Window>::object() {
  static const auto object = Object<Window>("a span of the drill")
                                 .required("for", &Window::lasts, "how long")
                                 .between(&Window::lasts, Duration{0}, day);
  return object;
}

const Object<Step>& Describe<Step>::object() {
  static const auto object =
      Object<Step>("one fault, on its place in the timeline")
          .optional("name", &Step::name, "what reports and `after` call it", "the fault's name")
          .required("fault", &Step::fault, "which fault, such as network.delay")
          .optional("on", &Step::on, "where it is done, and what to", "every host")
          .optional("with", &Step::with, "the fault's parameters")
          .optional("at", &Step::at, "when it starts, after the method's start", "0s")
          .between(&Step::at, Duration{0}, day)
          .optional("after", &Step::after, "the step that must have ended before it starts")
          .optional("for", &Step::lasts, "how long it stays in force")
          .between(&Step::lasts, millisecond, day)
          .optional("ramp", &Step::ramp, "how the dose grows", "at once")
          .rest(note_places)
          .rule(check_times);
  return object;
}

const Object<Scenario>& Describe<Scenario>::object() {
  static const auto object =
      Object<Scenario>("one drill: what is done to whom, and what must hold")
          .required("scenario", &Scenario::name, "the drill's name: lower case, digits and dashes")
          .optional("title", &Scenario::title, "what happens, in a line")
          .optional("squad", &Scenario::squad, "who owns the drill")
          .optional("hypothesis", &Scenario::hypothesis, "what is believed to hold, in words")
          .optional("blast_radius", &Scenario::blast_radius, "how much may be hit", "one host")
          .optional("baseline", &Scenario::baseline, "the steady state must hold this long before the method",
                    "15s")
          .required("method", &Scenario::method, "the faults, on a timeline")
          .optional("recovery", &Scenario::recovery, "how long is watched after the last fault", "30s")
          .required("expect", &Scenario::expect,
                    "what must hold, such as {service: playlist, availability: \">= 99%\"}")
          .optional("halt_when", &Scenario::halt_when, "when to stop at once")
          .optional("seed", &Scenario::seed, "of every random choice; the same seed repeats the drill", "1")
          .including(&Scenario::landscape)
          .rule(check_name);
  return object;
}

}  // namespace squall
