// The run record: events.jsonl, one event a line, append-only. Every report and every verdict is a pure function of it.
//
// Each line is an object with "t" (nanoseconds on the monotonic clock since the run's start), "at" (CLOCK_REALTIME in
// nanoseconds) and "kind". The kinds:
//
//   run.started    {version, run, scenario, title, squad, hypothesis, seed, host, scenario_yaml, landscape_yaml, files: […],
//                   plan: [{step, fault, host, mechanism, targets, limits, changes}]}
//   window.started {window: "baseline" | "method" | "recovery"}            window.ended {window}
//   probe          {s: service, p: probe, due: t it was due, lat: ns from DUE to its answer, ok, err?, code?,
//                   ph?: {dns, connect, tls, first_byte}}  (a probe is one sample; lat counts from when it was due, so
//                   a late probe is a slow one; a timeout has ok=false and lat = at least the timeout)
//   fault.applied  {step, fault, host, mechanism, targets, limits, applied_at, apply_ns}
//   fault.failed   {step, fault, host, error}
//   fault.dose     {step, host, dose}                                      (the last one before the undo counts)
//   fault.event    {step, host, what, at, …}                               (process.died, process.returned, …)
//   fault.undone   {step, host, undone_at, undo_ns, why, clean, left, dose}
//   alert          {source: "prometheus" | "alertmanager" | "webhook", state: "pending" | "firing" | "resolved" | "silenced" |
//                   "notified" | "notified_resolved", alert, labels, fingerprint, since: ns when the state began by the
//                   source's own word, receiver?, preexisting?: true where it was so before the run}
//   alert.source   {source, address, ok, error?}                           (whenever its health changes)
//   alert.rule     {alert, labels, for_ns, interval_ns}                    (what the sources know at the start)
//   lookout        {text}                                                  (a finding before the run: an alert that cannot fire in time, …)
//   halt           {reason, by: "condition" | "user" | "host"}
//   restored       {host, clean, differences: […], left: […]}
//   error          {text}                                                  (why the drill could not run)
//   run.ended      {}
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

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
};

enum class AlertState { pending, firing, resolved, silenced, notified, notified_resolved };

// One thing one source said about one alert.
struct AlertEvent {
  std::string source;
  AlertState state = AlertState::firing;
  std::string alert;
  std::map<std::string, std::string> labels;
  std::string fingerprint;    // Prometheus' FNV-1a over the sorted labels, 16 hex digits: joins the sources
  std::int64_t since_ns = 0;  // CLOCK_REALTIME: when the state began, by the source's word
  std::int64_t seen_ns = 0;   // CLOCK_REALTIME: when we learnt of it
  std::string receiver;       // of a notification: the Alertmanager receiver's name
  bool preexisting = false;   // it was so when we first asked
};

}  // namespace squall
