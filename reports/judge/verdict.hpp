// From the record to the verdict: each expectation held, violated or inconclusive, with its evidence. Pure.
//
// The rules, in the order in which they decide:
//   error         the drill could not run, or its record ends in the middle
//   halted        a halt condition, Ctrl-C or `squall halt` ended it
//   inconclusive  a fault's dose was not measured to have an effect: then nothing can be concluded, whatever
//   else was seen fail          an expectation is violated inconclusive  an expectation could not be decided
//   pass          every expectation held
// A host that could not be restored is said beside the verdict and decides the exit code.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/judge/alert_verdict.hpp"
#include "reports/judge/expectation.hpp"
#include "reports/record/figures.hpp"
#include "reports/record/record.hpp"

namespace squall {

// How users fared who come the way that one probe comes.
struct ProbeVerdict {
  std::string probe;
  std::map<std::string, Figures> windows;  // as below
  Recovery recovery;
  std::string recovered;  // the same for a person
};

struct ServiceVerdict {
  std::string service, squad;
  std::vector<ProbeVerdict> probes;  // in the order of their names
  std::map<std::string, Figures>
      windows;  // "baseline", "fault", "recovery"; only where there are samples; of all its probes
  std::optional<double>
      time_to_recover_s;  // of its slowest probe, after the last fault's end; none: not seen to recover
  std::string recovery;   // the same for a person
};

// "web", or "web, by-name" where a service has several probes.
std::string name_of(const ServiceVerdict&, const ProbeVerdict&);
// The probe that fared worst while the fault was in force: by availability, then by p99. Null where none was
// due.
const ProbeVerdict* worst_probe(const ServiceVerdict&);
// "300 of 300 by a new connection" of all that was asked; "" of probes that need none.
std::string describe_connections(const ProbeVerdict&);

struct Verdict {
  enum class Kind { pass, fail, inconclusive, halted, error } kind = Kind::error;
  std::string headline;              // one sentence for a person
  std::vector<std::string> reasons;  // what made it so, most important first
  std::vector<Judged> expectations;
  std::vector<ServiceVerdict> services;
  std::vector<AlertVerdict> alerts;
  AlertScore score;
  std::vector<std::string>
      findings;                  // worth knowing, whatever the verdict: sources down, alerts firing before …
  std::optional<bool> restored;  // none: the record does not tell
  std::vector<std::string> differences;
  std::vector<std::string>
      next_steps;  // where there are differences: whose they are, and what a person can do about them
  std::vector<LeftBehind> left;
};

std::string_view to_string(Verdict::Kind);

Verdict judge(const RunRecord&);

// The windows that figures are given for: "baseline"; "fault", from the first fault in force to the last one
// undone; and "recovery", from there to the end of what was watched.
std::map<std::string, WindowSpan> report_windows(const RunRecord&);

// A sentence for each span in which squall stood still.
std::vector<std::string> describe_gaps(const RunRecord&);

// What of the steady state does not hold over the baseline, a sentence each; empty where the drill may go on.
// The steady state is every service's SLO and what `expect` says of availability and latency. Too few samples
// to tell do not keep a drill from starting; a service with probes that never answered does.
std::vector<std::string> steady_state_problems(const RunRecord&);

// 0 pass, 1 fail, 3 inconclusive, 4 halted, 5 could not run; 6 where a host could not be restored, whatever
// the verdict.
int exit_code(const Verdict&);

}  // namespace squall
