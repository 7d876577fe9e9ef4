// One drill, as its file says it. Plain structs between text and behaviour.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/model/landscape.hpp"
#include "scenarios/model/samples.hpp"

namespace squall {

struct BlastRadius {
  std::optional<std::int64_t>
      hosts;  // refuse when the selection has more hosts than this; 1 where no share is given either
  std::optional<Percent> share;  // … or a larger share of the landscape's hosts
};

struct Ramp {
  Duration up;  // from nothing to the full dose
};

// One fault of the method, on its place in the timeline.
struct Step {
  std::string name;
  std::string fault;  // "network.delay"
  Selector on;
  Value with;                        // the fault's parameters, checked against the catalogue
  std::optional<Duration> at;        // after the method's start; 0s where neither at nor after is given
  std::optional<std::string> after;  // the name of a step: starts when that one has ended
  std::optional<Duration> lasts;     // `for`; none where the fault is an act, such as a kill
  std::optional<Ramp> ramp;
  std::optional<SampleFile> samples;  // whose delays are in `with`, where it named a file of them
  Place place, fault_place;           // for errors found by the planner
};

// One expectation about a service, an alert, or the other alerts. An entry of the file may hold several
// criteria.
struct Expectation {
  // about a service
  std::optional<std::string> service;
  std::optional<Comparison<Percent>> availability;  // over the method's window
  std::optional<Comparison<Duration>> latency_p50, latency_p90, latency_p99, latency_max;
  std::optional<Duration> recovers_within;  // after the last fault's end
  // about an alert
  std::optional<std::string> alert;
  std::map<std::string, std::string> labels;  // which the alert must carry
  std::optional<Duration> fires_within;       // after the first fault's start
  std::optional<Duration> resolves_within;    // after the last fault's end
  std::optional<std::string> reaches;         // the squad whose receiver must be notified
  // about every other alert
  std::optional<std::string> other_alerts;  // "none" or "any"
  Place place;
};

struct HaltCondition {
  std::string service;
  std::optional<Comparison<Percent>> availability;
  std::optional<Comparison<Duration>> latency_p50, latency_p90, latency_p99;
  Duration over{5'000'000'000};  // the window it is judged over
};

struct Window {
  Duration lasts;  // `for`
};

struct Scenario {
  std::string name;  // `scenario`: lower case, digits and dashes, as it names the run's folder
  std::string title;
  std::string squad;
  std::string hypothesis;
  BlastRadius blast_radius;
  Window baseline{{15'000'000'000}};
  Window recovery{{30'000'000'000}};
  std::vector<Step> method;
  std::vector<Expectation> expect;
  std::vector<HaltCondition> halt_when;
  std::optional<std::uint64_t> seed;
  Landscape landscape;  // its own sections, merged over those of the landscape file
};

// "service playlist: availability >= 99%" and the like, for reports: one text for each criterion of the
// entry, in the order availability, latency_p50, p90, p99, max, recovers_within; all that is expected of an
// alert is one criterion.
std::vector<std::string> describe(const Expectation&);
std::string describe(const HaltCondition&);

template <>
struct Describe<BlastRadius> {
  static const Object<BlastRadius>& object();
};
template <>
struct Describe<Ramp> {
  static const Object<Ramp>& object();
};
template <>
struct Describe<Step> {
  static const Object<Step>& object();
};
template <>
struct Describe<Expectation> {
  static const Object<Expectation>& object();
};
template <>
struct Describe<HaltCondition> {
  static const Object<HaltCondition>& object();
};
template <>
struct Describe<Window> {
  static const Object<Window>& object();
};
template <>
struct Describe<Scenario> {
  static const Object<Scenario>& object();
};

}  // namespace squall
