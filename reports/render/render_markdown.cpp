#include "reports/record/text.hpp"
#include "reports/render/markup.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

using markup::markdown;

std::string_view mark(Outcome outcome) {
  return outcome == Outcome::held       ? "✅ held"
         : outcome == Outcome::violated ? "❌ violated"
                                        : "❔ inconclusive";
}

std::string_view word(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::pass:
      return "✅ Pass";
    case Verdict::Kind::fail:
      return "❌ Fail";
    case Verdict::Kind::inconclusive:
      return "❔ Inconclusive";
    case Verdict::Kind::halted:
      return "⏹ Halted";
    case Verdict::Kind::error:
      return "⚠️ Could not run";
  }
  return "";
}

std::string row(const std::vector<std::string>& cells) {
  return "| " + text::join(cells, " | ") + " |\n";
}

std::string table(const std::vector<std::string>& head) {
  std::string out = row(head) + "|";
  for (std::size_t i = 0; i < head.size(); ++i)
    out += " --- |";
  return out + "\n";
}

std::string or_dash(std::string text) {
  return text.empty() ? "–" : markdown(text);
}

void expectations(std::string& out, const Verdict& verdict) {
  if (verdict.expectations.empty()) return;
  out += "\n## Expectations\n\n" + table({"", "Expectation", "Evidence"});
  for (auto& judged : verdict.expectations)
    out += row({std::string(mark(judged.outcome)), markdown(judged.expectation), markdown(judged.evidence)});
}

void faults(std::string& out, const RunRecord& record) {
  if (record.faults.empty()) return;
  out +=
      "\n## What was done\n\n" + table({"Step", "Fault", "Host", "Mechanism", "Dose", "Samples", "Verified"});
  for (auto& fault : record.faults)
    out += row({markdown(fault.step), markdown(fault.fault), markdown(fault.host), or_dash(fault.mechanism),
                !fault.failed.empty() ? markdown(fault.failed)
                                      : (fault.dose ? markdown(text::dose_summary(*fault.dose)) : "–") +
                                            (fault.samples.empty() ? "" : "; " + markdown(fault.samples)),
                fault.dose ? text::count(static_cast<std::int64_t>(fault.dose->samples)) : "–",
                fault.dose && fault.dose->verified
                    ? "yes"
                    : "**no**" + (fault.dose ? ": " + markdown(fault.dose->reason) : "")});
}

void users(std::string& out, const ServiceVerdict& service, const ProbeVerdict& probe) {
  for (auto* window : {"baseline", "fault", "recovery"}) {
    auto found = probe.windows.find(window);
    if (found == probe.windows.end()) continue;
    auto& seen = found->second;
    auto ms = [&](double LatencyFigures::* figure) {
      return seen.latency ? text::milliseconds((*seen.latency).*figure) : std::string("–");
    };
    out += row({markdown(name_of(service, probe)), window,
                text::count(seen.probes) +
                    (seen.unseen ? fmt::format(", {} not asked", text::count(seen.unseen)) : "") +
                    (seen.opened && seen.opened < seen.probes
                         ? fmt::format(", {} by a new connection", text::count(seen.opened))
                         : ""),
                seen.probes ? fmt::format("{} ({})", text::percent(seen.availability),
                                          text::percent_interval(seen.availability_ci95))
                            : "–",
                ms(&LatencyFigures::p50_ms), ms(&LatencyFigures::p90_ms), ms(&LatencyFigures::p99_ms),
                ms(&LatencyFigures::max_ms),
                std::string(window) == "recovery" ? markdown(probe.recovered) : ""});
  }
}

void services(std::string& out, const Verdict& verdict) {
  if (verdict.services.empty()) return;
  out += "\n## How users fared\n\n" + table({"Service, probe", "Window", "Probes", "Availability (95% CI)",
                                             "p50", "p90", "p99", "max", "Recovery"});
  for (auto& service : verdict.services)
    for (auto& probe : service.probes)
      users(out, service, probe);
}

void alerts(std::string& out, const Verdict& verdict) {
  if (verdict.alerts.empty()) return;
  out += "\n## Alerts\n\n" + table({"Alert", "Expected", "Outcome", "What happened"});
  for (auto& alert : verdict.alerts)
    out += row({markdown(alert.alert + " " + text::labels(alert.labels, "alertname")),
                alert.expected ? "yes" : "no", std::string(to_string(alert.outcome)), markdown(alert.text)});
  auto& score = verdict.score;
  if (score.expected)
    out += fmt::format("\nCaught {} of {} expected{}{}.\n", score.caught, score.expected,
                       score.unexpected ? fmt::format(", {} unexpected", score.unexpected) : "",
                       score.mean_detection_s ? fmt::format(", detected after {} on average",
                                                            text::seconds(*score.mean_detection_s))
                                              : "");
}

void list(std::string& out, std::string_view title, const std::vector<std::string>& items) {
  if (items.empty()) return;
  out += fmt::format("\n## {}\n\n", title);
  for (auto& item : items)
    out += fmt::format("- {}\n", markdown(item));
}

void restored(std::string& out, const RunRecord& record, const Verdict& verdict) {
  if (record.faults.empty()) return;
  out += "\n## Restored\n\n";
  if (!verdict.restored)
    out += "The record does not tell whether the hosts are as found.\n";
  else if (*verdict.restored)
    out += "Everything is as found.\n";
  else
    out += "**Not everything is as found.**\n\n";
  for (auto& left : verdict.left)
    out += fmt::format("- {}: {}{}\n", markdown(left.host), markdown(left.detail),
                       left.by_hand.empty() ? "" : ". By hand: " + markdown(left.by_hand));
  for (auto& difference : verdict.differences)
    out += fmt::format("- {}\n", markdown(difference));
  list(out, "What to do", verdict.next_steps);
}

}  // namespace

std::string render_markdown(const RunRecord& record, const Verdict& verdict) {
  std::string out = fmt::format("# {}: {}\n\n", word(verdict.kind),
                                markdown(record.title.empty() ? record.scenario_name : record.title));
  out += fmt::format("{}\n", markdown(verdict.headline));
  if (!record.hypothesis.empty()) out += fmt::format("\n> {}\n", markdown(record.hypothesis));
  if (verdict.kind != Verdict::Kind::fail) list(out, "Why", verdict.reasons);
  expectations(out, verdict);
  faults(out, record);
  services(out, verdict);
  alerts(out, verdict);
  list(out, "Worth knowing", verdict.findings);
  restored(out, record, verdict);
  out += fmt::format(
      "\n---\n\nRun `{}` of scenario `{}`{}, seed {}, {} {}, squall {}.\n", record.run, record.scenario_name,
      record.squad.empty() ? "" : fmt::format(" (squad {})", markdown(record.squad)), record.seed,
      text::day(record.wall_start_ns), text::clock(record.wall_start_ns), record.version);
  return out;
}

}  // namespace squall
