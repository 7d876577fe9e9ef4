#include "reports/judge/verdict.hpp"

#include <algorithm>
#include <set>

#include "reports/judge/alert_sight.hpp"
#include "reports/judge/clock_findings.hpp"
#include "reports/judge/service_verdict.hpp"
#include "reports/judge/skew.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

// The windows that figures are given for; contiguous from the first fault on.
std::map<std::string, WindowSpan> spans(const RunRecord& record) {
  std::map<std::string, WindowSpan> out;
  auto given = [&](const char* name) -> const WindowSpan* {
    auto found = record.windows.find(name);
    return found == record.windows.end() ? nullptr : &found->second;
  };
  if (auto* baseline = given("baseline"))
    out["baseline"] = {baseline->start_t, baseline->end_t.value_or(record.last_t)};
  const auto fault = record.fault_window();
  if (!fault) return out;
  out["fault"] = *fault;
  const auto* recovery = given("recovery");
  out["recovery"] = {
      *fault->end_t,
      std::max(recovery ? recovery->end_t.value_or(record.last_t) : record.last_t, *fault->end_t)};
  return out;
}

class Judge {
 public:
  explicit Judge(const RunRecord& record) : record_(record), windows_(spans(record)) {}

  Verdict run() {
    for (auto& name : services_of(record_))
      services_.emplace(name, observe_service(record_, name, windows_));
    for (auto& [name, observed] : services_)
      out_.services.push_back(observed);
    stories_ = alert_stories(record_);
    out_.alerts = judge_alerts(record_, stories_);
    out_.score = score(out_.alerts);
    expectations();
    restored();
    findings();
    decide();
    return std::move(out_);
  }

 private:
  bool cut_short() const { return record_.halt.has_value() || !record_.ended; }

  void expectations() {
    std::size_t alert = 0;
    for (auto& expectation : record_.scenario.expect) {
      const auto texts = describe(expectation);
      std::size_t text = 0;
      auto add = [&](Finding found) {
        if (text < texts.size())
          out_.expectations.push_back({texts[text++], found.outcome, std::move(found.evidence)});
      };
      if (expectation.service) service(expectation, add);
      if (expectation.alert) add(of_alert(out_.alerts.at(alert++)));
      if (expectation.other_alerts) add(other_alerts(*expectation.other_alerts));
    }
  }

  // What was violated stays so in a drill that was cut short; what held until then might not have held to the
  // end.
  Finding over_whole_window(Finding found) const {
    if (cut_short() && found.outcome == Outcome::held)
      return {Outcome::inconclusive, found.evidence + ", until the drill was cut short"};
    return found;
  }

  template <class Add>
  void service(const Expectation& e, const Add& add) {
    static const ServiceVerdict nothing;
    auto found = services_.find(*e.service);
    const auto& observed = found == services_.end() ? nothing : found->second;
    const auto span = windows_.find("fault");
    // Of each probe, wherever within their error the hosts' clocks put the fault's begin and end.
    auto each = [&](auto&& judged) {
      add(over_whole_window(beyond_clock_error(record_, [&](std::int64_t begin, std::int64_t end) {
        std::vector<ProbeFinding> findings;
        for (auto& probe : observed.probes)
          findings.push_back({probe.probe, judged(probe, begin, end)});
        return judge_service(findings);
      })));
    };
    auto during = [&](auto&& judged) {
      each([&](const ProbeVerdict& probe, std::int64_t begin, std::int64_t end) {
        if ((begin || end) && span != windows_.end())
          return judged(figures(samples_of_probe(*e.service, probe.probe), span->second.start_t + begin,
                                *span->second.end_t + end));
        auto window = probe.windows.find("fault");
        return judged(window == probe.windows.end() ? Figures{} : window->second);
      });
    };
    if (e.availability)
      during([&](const Figures& seen) { return judge_availability(seen, *e.availability); });
    auto latency = [&](double q, const std::optional<Comparison<Duration>>& bound) {
      if (bound) during([&](const Figures& seen) { return judge_latency(seen, q, *bound); });
    };
    latency(0.5, e.latency_p50), latency(0.9, e.latency_p90), latency(0.99, e.latency_p99),
        latency(1, e.latency_max);
    if (!e.recovers_within) return;
    const auto ended = record_.faults_ended_t();
    if (!ended)
      add({Outcome::inconclusive, "the faults' end is not in the record"});
    else
      each([&](const ProbeVerdict& probe, std::int64_t, std::int64_t end) {
        const auto until = *windows_.at("recovery").end_t;
        const auto seen = end ? recovery(samples_of_probe(*e.service, probe.probe),
                                         steady_state(record_.scenario, *e.service), *ended + end, until)
                              : probe.recovery;
        return judge_recovery(seen, *e.recovers_within, static_cast<double>(until - *ended) / 1e9);
      });
  }

  std::vector<ServiceSample> samples_of_probe(const std::string& service, const std::string& probe) const {
    for (auto* series : probes_of(record_, service))
      if (series->probe == probe) return samples_of(record_, *series);
    return {};
  }

  // Whether squall stood still while something could have been seen of alerts.
  bool stood_still() const {
    const auto fault = record_.fault_window();
    return fault && std::any_of(record_.gaps.begin(), record_.gaps.end(),
                                [&](auto& gap) { return gap.overlaps(fault->start_t, record_.last_t); });
  }

  Finding of_alert(const AlertVerdict& alert) const {
    // One that was pending before may have been on its way for another reason: nobody can tell.
    const bool open =
        alert.outcome == AlertOutcome::unseen || (alert.outcome == AlertOutcome::preexisting && alert.fired);
    const auto outcome = alert.outcome == AlertOutcome::caught ? Outcome::held
                         : open                                ? Outcome::inconclusive
                                                               : Outcome::violated;
    const auto evidence = fmt::format("{}: {}", to_string(alert.outcome), alert.text);
    // What fired before was seen before; anything else may have been different while nobody looked.
    if (outcome == Outcome::violated && alert.outcome != AlertOutcome::preexisting && stood_still())
      return {Outcome::inconclusive, evidence + "; squall stood still meanwhile and may have missed it"};
    return {outcome, evidence};
  }

  Finding other_alerts(const std::string& wanted) const {
    std::vector<std::string> fired, unclear;
    for (auto& alert : out_.alerts)
      if (!alert.expected && alert.outcome == AlertOutcome::unseen)
        unclear.push_back(fmt::format("{} {}", alert.alert, alert.text));
    for (auto& alert : out_.alerts)
      if (!alert.expected && alert.fired)
        fired.push_back(
            fmt::format("{}{} {}", alert.alert, text::labels(alert.labels, "alertname"), alert.text));
    if (wanted != "none")
      return {Outcome::held, fired.empty() ? "no other alert fired" : text::join(fired, "; ")};
    if (!fired.empty()) return {Outcome::violated, "unexpected: " + text::join(fired, "; ")};
    if (!unclear.empty()) return {Outcome::inconclusive, text::join(unclear, "; ")};
    if (auto why = cannot_see_alerts(record_); !why.empty())
      return {Outcome::inconclusive, "none was seen, but " + why};
    if (stood_still())
      return {Outcome::inconclusive,
              "none was seen, but squall stood still meanwhile and may have missed one"};
    return over_whole_window({Outcome::held, "no other alert fired"});
  }

  void restored() {
    bool touched = false, clean = true, told = true;
    for (auto& fault : record_.faults) {
      if (fault.applied_t) touched = true;
      const bool host_told = std::any_of(record_.restored.begin(), record_.restored.end(),
                                         [&](auto& r) { return r.host == fault.host; });
      if (fault.applied_t && !host_told) told = false;
      // A host that was compared afterwards has the last word.
      if (fault.undone_t && !fault.undone_clean && !host_told) {
        clean = false;
        out_.left.insert(out_.left.end(), fault.left.begin(), fault.left.end());
      }
    }
    for (auto& host : record_.restored) {
      touched = true;
      if (!host.clean) clean = false;
      for (auto& difference : host.differences)
        out_.differences.push_back(fmt::format("{}: {}", host.host, difference));
      out_.left.insert(out_.left.end(), host.left.begin(), host.left.end());
    }
    if (!out_.differences.empty()) next_steps();
    if (!touched)
      out_.restored = true;  // nothing was changed
    else if (!clean)
      out_.restored = false;
    else if (told)
      out_.restored = true;
  }

  void next_steps() {
    std::map<std::string, std::vector<std::string>> see;
    for (auto& host : record_.restored)
      see[host.host].insert(see[host.host].end(), host.see.begin(), host.see.end());
    out_.next_steps = text::next_steps(out_.left.empty(), see);
  }

  static std::string by_others(const HostRestored& host) {
    constexpr std::size_t enough = 5;
    auto told = host.meanwhile;
    if (told.size() > enough) {
      told.resize(enough);
      told.push_back(fmt::format("and {} more", host.meanwhile.size() - enough));
    }
    return fmt::format("{}: others changed something meanwhile that no fault had to do with: {}", host.host,
                       text::join(told, "; "));
  }

  void findings() {
    for (auto& text : describe_gaps(record_))
      out_.findings.push_back(text);
    unseen();
    for (auto& other : record_.others)
      out_.findings.push_back(
          fmt::format("another drill was at work on {} meanwhile: {} ({}) of {}, from {} {}; what was seen "
                      "may be its doing",
                      other.host, other.step, other.fault,
                      other.run.empty() ? "a session without a name" : fmt::format("\"{}\"", other.run),
                      text::clock(record_.wall_ns(other.from_t)),
                      other.to_t ? "to " + text::clock(record_.wall_ns(*other.to_t))
                                 : std::string("to beyond the end of this one")));
    for (auto& text : record_.lookouts)
      out_.findings.push_back(text);
    for (auto& host : record_.restored)
      if (!host.note.empty())
        out_.findings.push_back(fmt::format(
            "{}: {}; it could not be compared with its state before the drill", host.host, host.note));
    for (auto& host : record_.restored)
      if (!host.meanwhile.empty()) out_.findings.push_back(by_others(host));
    for (auto& host : record_.restored)
      for (auto& what : host.ended)
        out_.findings.push_back(
            fmt::format("{}: {} ended with the session, after the recovery window", host.host, what));
    for (auto& alert : out_.alerts)
      if (alert.outcome == AlertOutcome::preexisting)
        out_.findings.push_back(fmt::format("alert {}{} was {} before the first fault", alert.alert,
                                            text::labels(alert.labels, "alertname"),
                                            alert.fired ? "pending" : "firing"));
    for (auto& text : disagreements(record_, stories_))
      out_.findings.push_back(text);
    for (auto& text : blind_sources(record_))
      out_.findings.push_back(text);
    for (auto& text : clock_findings(record_))
      out_.findings.push_back(text);
    for (auto& text : skews(record_))
      out_.findings.push_back(text);
    std::map<std::pair<std::string, std::string>, SourceHealth> worst;
    for (auto& health : record_.sources)
      if (!health.ok) worst.emplace(std::pair{health.source, health.address}, health);
    for (auto& [key, health] : worst)
      out_.findings.push_back(fmt::format("alert source {} {} could not be asked at {}: {}", health.source,
                                          health.address, text::clock(record_.wall_ns(health.t)),
                                          health.error));
    for (auto& problem : steady_state_problems(record_))
      out_.findings.push_back("before the fault: " + problem);
  }

  // What squall could not ask by its own fault, by probe and reason; those of a gap are told with it.
  void unseen() {
    for (auto& series : record_.probes) {
      std::map<std::string, std::int64_t> why;
      for (auto& sample : series.samples)
        if (sample.unseen && sample.error != "squall stood still") ++why[sample.error];
      for (auto& [text, count] : why)
        out_.findings.push_back(fmt::format("{} of {} probes \"{}\" of {} say nothing of it: {}",
                                            text::count(count),
                                            text::count(static_cast<std::int64_t>(series.samples.size())),
                                            series.probe, series.service, text));
    }
  }

  std::vector<std::string> doses_not_verified() const {
    auto out = never_whole(record_);
    for (auto& fault : record_.faults) {
      if (!fault.applied_t || (fault.dose && fault.dose->verified)) continue;
      const auto why = !fault.dose                  ? "no dose was measured"
                       : fault.dose->reason.empty() ? "no effect was measured"
                                                    : fault.dose->reason;
      out.push_back(fmt::format("{} ({}) on {}: {}", fault.step, fault.fault, fault.host, why));
    }
    return out;
  }

  std::vector<std::string> with(Outcome outcome) const {
    std::vector<std::string> out;
    for (auto& judged : out_.expectations)
      if (judged.outcome == outcome)
        out.push_back(fmt::format("{}: {}", judged.expectation, judged.evidence));
    return out;
  }

  void settle(Verdict::Kind kind, std::string headline, std::vector<std::string> reasons) {
    out_.kind = kind;
    out_.headline = std::move(headline);
    out_.reasons = std::move(reasons);
  }

  void decide() {
    const bool by_somebody = record_.halt && record_.halt->by != "host";
    const bool injected = record_.fault_window().has_value();
    auto errors = record_.errors;
    for (auto& fault : record_.faults)
      if (!fault.failed.empty() && errors.empty())
        errors.push_back(fmt::format("{} on {}: {}", fault.step, fault.host, fault.failed));
    if (by_somebody)
      return settle(Verdict::Kind::halted,
                    record_.halt->by == "condition"
                        ? "Halted by a halt condition; every fault was undone first."
                        : "Halted by hand; every fault was undone first.",
                    {record_.halt->reason});
    if (!errors.empty())
      return settle(Verdict::Kind::error,
                    injected ? "The drill could not be finished." : "The drill could not run.", errors);
    if (record_.halt)
      return settle(Verdict::Kind::error, "The drill could not be finished.", {record_.halt->reason});
    if (!record_.ended)
      return settle(Verdict::Kind::error, "The record ends in the middle of the drill.",
                    {fmt::format("the last line was written {} after the start, without an end: squall was "
                                 "killed, or its disk was full",
                                 text::seconds(static_cast<double>(record_.last_t) / 1e9))});
    if (!injected) return settle(Verdict::Kind::error, "The drill could not run.", {"no fault was applied"});
    if (auto unproven = doses_not_verified(); !unproven.empty())
      return settle(Verdict::Kind::inconclusive,
                    "The fault was not measured to have its effect, so nothing can be concluded.", unproven);
    const auto violated = with(Outcome::violated), unclear = with(Outcome::inconclusive);
    const auto all = out_.expectations.size();
    if (!violated.empty())
      return settle(Verdict::Kind::fail,
                    fmt::format("{} of {} expectations {} violated.", violated.size(), all,
                                violated.size() == 1 ? "is" : "are"),
                    violated);
    if (!unclear.empty())
      return settle(Verdict::Kind::inconclusive,
                    fmt::format("{} of {} expectations could not be decided.", unclear.size(), all), unclear);
    if (!all)
      return settle(Verdict::Kind::error, "The drill has no expectations to judge.",
                    {"the scenario in the record could not be read"});
    settle(Verdict::Kind::pass,
           all == 1 ? "The expectation held." : fmt::format("All {} expectations held.", all), {});
  }

  const RunRecord& record_;
  std::map<std::string, WindowSpan> windows_;
  std::map<std::string, ServiceVerdict> services_;
  std::vector<AlertStory> stories_;
  Verdict out_;
};

}  // namespace

std::string_view to_string(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::pass:
      return "pass";
    case Verdict::Kind::fail:
      return "fail";
    case Verdict::Kind::inconclusive:
      return "inconclusive";
    case Verdict::Kind::halted:
      return "halted";
    case Verdict::Kind::error:
      return "error";
  }
  return "error";
}

std::map<std::string, WindowSpan> report_windows(const RunRecord& record) {
  return spans(record);
}

Verdict judge(const RunRecord& record) {
  return Judge{record}.run();
}

int exit_code(const Verdict& verdict) {
  if (verdict.restored == false) return 6;
  switch (verdict.kind) {
    case Verdict::Kind::pass:
      return 0;
    case Verdict::Kind::fail:
      return 1;
    case Verdict::Kind::inconclusive:
      return 3;
    case Verdict::Kind::halted:
      return 4;
    case Verdict::Kind::error:
      return 5;
  }
  return 5;
}

}  // namespace squall
