// The run record: events.jsonl, one event a line, append-only. Every report and every verdict is a pure
// function of it.
//
// Each line is an object with "t" (nanoseconds on CLOCK_BOOTTIME since the run's start), "at" (CLOCK_REALTIME
// in nanoseconds) and "kind". The kinds:
//
//   run.started    {version, run, scenario, title, squad, hypothesis, seed, host, started_by, scenario_yaml,
//   landscape_yaml, files: […],
//                   samples: [{step, file, delays_ns: […]}], plan: [{step, fault, host, mechanism, targets,
//                   limits, changes}]}
//   window.started {window: "baseline" | "method" | "recovery"}            window.ended {window}
//   probe          {s: service, p: probe, due: t it was due, lat: ns from DUE to its answer, ok, err?, code?,
//                   ph?: {dns, connect, tls, first_byte}, new?: true where it opened a connection,
//                   unseen?: true where squall could not ask, or not listen}  (a probe is one sample; lat
//                   counts from when it was due, so a late probe is a slow one; a timeout has ok=false and
//                   lat = at least the timeout)
//   fault.applied  {step, fault, host, mechanism, targets, limits, applied_at, apply_ns}
//   fault.failed   {step, fault, host, error}
//   fault.dose     {step, host, dose}                                      (the last one before the undo
//   counts) fault.event    {step, host, what, happened_at?, …}                     (process.died,
//   process.returned, …; happened_at:
//                   CLOCK_REALTIME of the host, where it is known better than the line's own "at")
//   fault.undone   {step, host, undone_at, undo_ns, why, clean, left, dose}
//   alert          {source: "prometheus" | "alertmanager" | "webhook", address, state: "pending" | "firing" |
//   "resolved" | "silenced" |
//                   "routed" | "notified" | "notified_resolved", alert, labels, fingerprint, since: ns when
//                   the state began by the source's own word (0: when this line was written, by nobody's
//                   clock but ours), gap_ns?: since the look before, which did not show it, receiver?, by?:
//                   what suppresses it, route?: {wait_ns, interval_ns, group, muted_by, max_alerts},
//                   preexisting?: true where it was so before the run}
//   alert.cut      {address, receiver, count}                              (alerts left out of a
//   notification: max_alerts) alert.source   {source, address, ok, error?, blind?: why it could not have told
//   of any alert}   (whenever its health changes) alert.restart  {source, address} (it began anew: what it
//   knew of alerts is gone) clock          {of: "prometheus" | "alertmanager" | "host", name, offset_ns: that
//   clock less our CLOCK_REALTIME, error_ns, stepped?,
//                   held_ns?: since when, before this line, the estimate before was last seen to hold} or
//                   {of, name, unknown: why}
//   clock.step     {by_ns}                                                 (our own CLOCK_REALTIME, against
//   CLOCK_MONOTONIC) alert.rule     {alert, labels, for_ns, interval_ns}                    (what the sources
//   know at the start) lookout        {text}                                                  (a finding
//   before the run: an alert that cannot fire in time, …) gap            {from, to: t between which squall
//   stood still, suspended: ns of them the host slept,
//                   not_asked: [{s, p, due: t of the first, every, n}]}     (probes that were due then and
//                   were not sent)
//   silence        {s, p, due: t}                                          (for a long time no answer to what
//   was due then) other          {host, run, step, fault, since: CLOCK_REALTIME of the host, over: bool}   (a
//   fault of another drill there) halt           {reason, by: "condition" | "user" | "host"}             (the
//   reason names who it was, where somebody did) restored       {host, clean, differences: […], see:
//   [commands that show them], meanwhile: […], left: […], ended: […]} error          {text} (why the drill
//   could not run) run.ended      {}
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "reports/record/clocks.hpp"
#include "scenarios/model/scenario.hpp"

namespace squall {

// When the parts of an HTTP probe were done, since it was asked; 0 where it did not get that far.
struct ProbePhases {
  std::int64_t dns_ns = 0, connect_ns = 0, tls_ns = 0, first_byte_ns = 0;
};

// One answer of one probe.
struct ProbeSample {
  std::int64_t due_ns = 0;      // monotonic, since the run's start
  std::int64_t latency_ns = 0;  // from due to the answer
  bool ok = false;
  std::string error;  // "" when ok: "timed out after 1s", "connection refused", "status 503"
  int code = 0;       // http status
  std::optional<ProbePhases> phases = std::nullopt;  // of http
  std::string local = "";  // the near end of its connection, "tcp 10.0.0.1:4711"; not recorded
  bool opened = false;     // by a connection of its own, made for it
  bool unseen =
      false;  // squall could not ask, or not listen: it says nothing about the service; `error` tells why
};

// `routed`: Alertmanager has it for a receiver; `silenced`: it is kept from everybody (AlertEvent::by says
// what does).
enum class AlertState { pending, firing, resolved, silenced, routed, notified, notified_resolved };

// Where Alertmanager sends an alert, by its configuration, and what keeps it.
struct AlertRoute {
  std::int64_t wait_ns = 0;      // group_wait: before a new group is told
  std::int64_t interval_ns = 0;  // group_interval: before what is new in a group that was told already is
  std::string group;             // alerts of one group are told together
  std::vector<std::string> muted_by;  // time intervals that mute it now
  std::int64_t max_alerts = 0;        // of a notification; 0: all
};

// One thing one source said about one alert.
struct AlertEvent {
  std::string source;
  AlertState state = AlertState::firing;
  std::string alert;
  std::map<std::string, std::string> labels;
  std::string fingerprint;    // Prometheus' FNV-1a over the sorted labels, 16 hex digits: joins the sources
  std::int64_t since_ns = 0;  // CLOCK_REALTIME: when the state began, by the source's word
  std::int64_t seen_ns = 0;   // CLOCK_REALTIME: when we learnt of it
  std::string receiver;       // of a notification or a route: the Alertmanager receiver's name
  bool preexisting = false;   // it was so when we first asked
  std::string address;        // of the source
  std::int64_t gap_ns = 0;    // since the look before, which did not show it
  std::string by;             // of silenced: "a silence", "another alert, which inhibits it"
  std::optional<AlertRoute> route = std::nullopt;  // of routed, where the configuration tells
};

// The record's spelling of an alert's state.
std::string_view to_string(AlertState);

// The events of a sample and of an alert, without "t", "at" and "kind", which the run log adds.
boost::json::object to_event(const std::string& service, const std::string& probe, const ProbeSample&);
boost::json::object to_event(const AlertEvent&);

// All times below that are called t are nanoseconds on CLOCK_BOOTTIME since the run's start. What hosts and
// alert sources tell in wall time is brought there by the line's own pair of clocks, and never lies after the
// line itself.

struct WindowSpan {
  std::int64_t start_t = 0;
  std::optional<std::int64_t> end_t;
};

struct ProbeSeries {
  std::string service, probe;
  std::vector<ProbeSample> samples;  // sorted by due_ns
};

struct DoseRecord {
  boost::json::object prescribed, measured;
  std::uint64_t samples = 0;
  bool verified = false;
  std::string reason;         // where it is not verified
  boost::json::array shares;  // {of, met, passed, by?} or {of, unknown}: of what the target did
  boost::json::object
      witness;  // {service, met, passed, unseen?}: of the service's own probes; empty where there is none
};

struct FaultHappening {
  std::int64_t t = 0;
  std::string what;          // "process.died"
  boost::json::object with;  // whatever else was told
};

// What is still in force, and how a person removes it.
struct LeftBehind {
  std::string host, detail, by_hand;
};

// One fault on one host, from what was planned to what was undone.
struct FaultRecord {
  std::string step, fault, host, mechanism;
  std::vector<std::string> targets, limits;
  std::string samples;  // "2134 recorded delays of rtt.txt, median 12 ms" where a file had them
  std::optional<std::int64_t> applied_t, undone_t;
  std::int64_t apply_ns = 0, undo_ns = 0;
  std::string failed;  // "" or why it could not be applied
  std::optional<DoseRecord> dose;
  std::vector<FaultHappening> events;
  std::string undone_why;
  bool undone_clean = true;
  std::vector<LeftBehind> left;
  std::int64_t clock_error_ns = 0;  // how wrong the times of it may be, either way, by its host's clock
  bool lasting = true;  // false for an act: it is over once it is done, however long it is observed
  // When it stopped acting on the system: its undo, or for an act the last thing that it did.
  std::optional<std::int64_t> end_t() const;
};

struct PlannedStep {
  std::string step, fault, host, mechanism;
  std::vector<std::string> targets, limits;
  boost::json::array changes;
};

struct AlertSighting {
  std::int64_t t = 0;  // when the state began by the source's word, else when it was seen
  std::int64_t seen_t = 0;
  Instant when;  // the same, with what is uncertain of it
  AlertEvent event;
};

struct SourceHealth {
  std::int64_t t = 0;
  std::string source, address;
  bool ok = false;
  std::string error;
  std::string blind;  // why it could not have told of any alert; "" where it could
};

struct SourceRestart {
  std::int64_t t = 0;
  std::string source, address;
};

// Alerts that a notification left out.
struct CutAlerts {
  std::int64_t t = 0;
  std::string receiver;
  std::int64_t count = 0;
};

struct OwnStep {
  std::int64_t t = 0, by_ns = 0;
};

struct KnownRule {
  std::string alert;
  std::map<std::string, std::string> labels;
  std::int64_t for_ns = 0, interval_ns = 0;
};

// A span in which squall stood still: stopped, starved, or asleep with its host. Nobody knows what it would
// have seen.
struct Gap {
  std::int64_t from_t = 0, to_t = 0;
  std::int64_t suspended_ns = 0;  // of it the host slept
  bool overlaps(std::int64_t from, std::int64_t to) const { return from_t < to && to_t > from; }
};

// A fault of another drill that was in force on one of this drill's hosts.
struct OtherFault {
  std::string host, run, step, fault;
  std::int64_t from_t = 0;
  std::optional<std::int64_t> to_t;
};

struct HaltRecord {
  std::int64_t t = 0;
  std::string reason, by;
};

struct HostRestored {
  std::string host, note;
  bool clean = false;
  std::vector<std::string> differences, see;
  std::vector<std::string> meanwhile;  // what others changed: nothing that a fault had to do with
  std::vector<std::string> ended;      // that went on for others behind a fault until the session's end
  std::vector<LeftBehind> left;
};

// Everything one run's record says.
struct RunRecord {
  std::string version, run, scenario_name, title, squad, hypothesis, host;
  std::string started_by;  // "alice as root, on pts/3, by ssh from 10.0.0.5"
  std::uint64_t seed = 0;
  std::vector<std::string> files;
  std::vector<PlannedStep> plan;
  Scenario scenario;  // read again from the texts in the record, and the samples of its files
  std::string scenario_yaml, landscape_yaml;
  bool started = false, ended = false;
  std::int64_t wall_start_ns = 0;  // CLOCK_REALTIME at t = 0
  std::int64_t last_t = 0;         // of the record's last line

  std::map<std::string, WindowSpan> windows;  // "baseline", "method", "recovery"
  std::vector<ProbeSeries> probes;
  std::vector<FaultRecord> faults;
  std::vector<AlertSighting> alerts;  // in the order of the record
  std::vector<SourceHealth> sources;
  std::vector<SourceRestart> restarts;
  std::vector<CutAlerts> cut;
  Clocks clocks;
  std::vector<OwnStep> own_steps;
  std::vector<KnownRule> rules;
  std::vector<std::string> lookouts;
  std::vector<Gap> gaps;  // the probes that were due in them are among the samples, unseen
  std::vector<OtherFault> others;
  std::optional<HaltRecord> halt;
  std::vector<HostRestored> restored;
  std::vector<std::string> errors;

  std::int64_t wall_ns(std::int64_t t) const { return wall_start_ns + t; }
  // From the first fault in force to the last one undone; where a fault was never undone, to the record's
  // end.
  std::optional<WindowSpan> fault_window() const;
  // The last fault's end, once every fault that was applied has ended.
  std::optional<std::int64_t> faults_ended_t() const;
};

// Reads a record. Lines that cannot be understood go to `problems`; a last line without its end, as a killed
// squall leaves it, is no more than a record without "run.ended".
RunRecord parse_record(std::string_view jsonl, std::vector<std::string>& problems);

}  // namespace squall
