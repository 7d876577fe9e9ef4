#include "reports/html/sections.hpp"

#include <algorithm>
#include <map>

#include "reports/html/icons.hpp"
#include "reports/html/timeline.hpp"
#include "reports/judge/story.hpp"
#include "reports/record/text.hpp"
#include "reports/render/markup.hpp"

namespace squall::html {
namespace {

using markup::xml;

// Of anything that a big host has thousands of: what a person reads through, and a browser lays out at once.
constexpr std::size_t most_items = 60;

struct Look {
  Sign sign;
  std::string_view word;
};

Look look(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::pass:
      return {Sign::check, "Pass"};
    case Verdict::Kind::fail:
      return {Sign::cross, "Fail"};
    case Verdict::Kind::inconclusive:
      return {Sign::question, "Inconclusive"};
    case Verdict::Kind::halted:
      return {Sign::stop, "Halted"};
    case Verdict::Kind::error:
      return {Sign::warning, "Could not run"};
  }
  return {Sign::warning, "?"};
}

std::string mark(std::string_view tone, Sign sign, std::string_view word) {
  return fmt::format("<span class=\"mark {}\">{}{}</span>", tone, icon(sign), xml(word));
}

std::string fact(std::string_view name, const std::string& value) {
  return value.empty() ? "" : fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, xml(value));
}

std::string section(std::string_view id, std::string_view title, const std::string& body) {
  if (body.empty()) return "";
  return fmt::format("<section aria-labelledby=\"{0}\"><h2 id=\"{0}\">{1}</h2>\n{2}</section>\n", id, title,
                     body);
}

// A table that scrolls by itself on a narrow screen, and is reached by keyboard there.
std::string scrolling(std::string_view label, const std::string& body) {
  return fmt::format("<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">{}</div>", label,
                     body);
}

std::string head(std::initializer_list<std::string_view> cells) {
  std::string out = "<thead><tr>";
  for (auto cell : cells) {
    const bool number = cell.starts_with('#');
    out += fmt::format("<th scope=\"col\"{}>{}</th>", number ? " class=\"number\"" : "",
                       number ? cell.substr(1) : cell);
  }
  return out + "</tr></thead>";
}

std::string list(const std::vector<std::string>& items, std::string_view kind) {
  if (items.empty()) return "";
  std::string out = fmt::format("<ul class=\"{}\">", kind);
  for (std::size_t i = 0; i < items.size() && i < most_items; ++i)
    out += "<li>" + xml(items[i]) + "</li>";
  if (items.size() > most_items)
    out += fmt::format("<li>and {} more: the record and report.json have them all</li>",
                       items.size() - most_items);
  return out + "</ul>";
}

std::string tile(std::string_view name, const std::string& value, const std::string& below,
                 std::string_view tone = "") {
  return fmt::format("<div class=\"tile {}\"><h2>{}</h2><b>{}</b><span>{}</span></div>\n", tone, name,
                     xml(value), xml(below));
}

// The last question, and a short answer: what was measured stands below.
std::string dose_tile(const RunRecord& record) {
  if (record.faults.empty()) return tile("Dose", "none", "nothing was injected", "open");
  const auto proven =
      static_cast<std::size_t>(std::count_if(record.faults.begin(), record.faults.end(),
                                             [](auto& fault) { return fault.dose && fault.dose->verified; }));
  const bool all = proven == record.faults.size();
  const auto tone = all ? "" : "open";
  if (record.faults.size() > 1)
    return tile("Dose", fmt::format("{} of {} measured", proven, record.faults.size()),
                all ? "every fault had its effect" : "a fault had no proven effect", tone);
  auto& fault = record.faults.front();
  if (!fault.dose) return tile("Dose", "not measured", fault.failed, tone);
  for (auto& row : text::dose_rows(*fault.dose))
    if (!row.prescribed.empty() && !row.measured.empty())
      return tile("Dose", row.measured,
                  fmt::format("{}, {} prescribed{}", row.name, row.prescribed, all ? "" : "; not verified"),
                  tone);
  return tile("Dose", all ? "delivered" : "not verified", fault.fault, tone);
}

// What the scenario asks of a service's availability during the fault: what it expects, else its SLO.
std::optional<Comparison<Percent>> availability_bound(const RunRecord& record, const std::string& service) {
  for (auto& expectation : record.scenario.expect)
    if (expectation.service == service && expectation.availability) return expectation.availability;
  return steady_state(record.scenario, service).availability;
}

std::string users_tile(const RunRecord& record, const Verdict& verdict) {
  const ServiceVerdict* worst = nullptr;
  auto during = [](const ServiceVerdict& service) -> const Figures& {
    return worst_probe(service)->windows.at("fault");
  };
  for (auto& service : verdict.services)
    if (worst_probe(service) && (!worst || during(service).availability < during(*worst).availability))
      worst = &service;
  if (!worst) return "";
  auto& seen = during(*worst);
  const auto name = name_of(*worst, *worst_probe(*worst));
  const auto bound = availability_bound(record, worst->service);
  const bool missed = bound && !bound->holds(seen.availability, bound->bound.fraction());
  std::vector<std::string> beside;
  if (bound) beside.push_back("bound " + to_string(bound->bound));
  auto& windows = worst_probe(*worst)->windows;
  if (auto before = windows.find("baseline"); before != windows.end())
    beside.push_back("before " + text::percent(before->second.availability));
  const auto whose = seen.ok == seen.probes ? std::string("every probe of every service was answered")
                     : verdict.services.size() == 1
                         ? name
                         : fmt::format("{}, the worst of {} services", name, verdict.services.size());
  return tile("Users during the fault", text::percent(seen.availability) + " available",
              text::join({whose, text::join(beside)}, beside.empty() ? "" : "; "),
              missed  ? "bad"
              : bound ? "good"
                      : "");
}

// Who was paged, by squad, and by which alert.
std::string paged_tile(const Verdict& verdict) {
  auto& score = verdict.score;
  std::vector<std::string> reached, names;
  bool seen = true;
  for (auto& alert : verdict.alerts) {
    if (!alert.expected) continue;
    seen = seen && alert.outcome != AlertOutcome::unseen;
    names.push_back(fmt::format("{}: {}", alert.alert, to_string(alert.outcome)));
    for (auto& whom : alert.reached)
      if (std::find(reached.begin(), reached.end(), whom) == reached.end()) reached.push_back(whom);
  }
  if (score.unexpected) names.push_back(fmt::format("{} unexpected", score.unexpected));
  if (names.empty()) return "";
  if (names.size() > 4) names.resize(4), names.push_back("…");
  const bool right = score.caught == score.expected && !score.unexpected;
  const bool any_fired = std::any_of(verdict.alerts.begin(), verdict.alerts.end(),
                                     [](auto& alert) { return alert.expected && alert.fired; });
  return tile("Paged",
              !reached.empty() ? text::join(reached)
              : any_fired      ? "an alert fired"
              : seen           ? "nobody"
                               : "not known",
              text::join(names),
              right  ? "good"
              : seen ? "bad"
                     : "open");
}

std::string detection_tile(const Verdict& verdict) {
  if (!verdict.score.mean_detection_s) return "";
  return tile("Detected after", text::seconds(*verdict.score.mean_detection_s),
              fmt::format("{} of {} expected alerts caught", verdict.score.caught, verdict.score.expected));
}

std::string recovery_tile(const Verdict& verdict) {
  const ServiceVerdict* slowest = nullptr;
  for (auto& service : verdict.services) {
    if (service.recovery.empty()) continue;
    if (!slowest || !service.time_to_recover_s ||
        (slowest->time_to_recover_s && *service.time_to_recover_s > *slowest->time_to_recover_s))
      slowest = &service;
    if (!slowest->time_to_recover_s) break;
  }
  if (!slowest) return "";
  if (!slowest->time_to_recover_s && slowest->recovery.starts_with("good"))
    return tile("Back", "not sure", fmt::format("{}: {}", slowest->service, slowest->recovery), "open");
  if (!slowest->time_to_recover_s)
    return tile("Back", "no", fmt::format("{}: {}", slowest->service, slowest->recovery), "bad");
  if (*slowest->time_to_recover_s == 0)
    return tile("Back", "at once", "in steady state from the last fault's end on", "good");
  return tile("Back after", text::seconds(*slowest->time_to_recover_s), slowest->service);
}

std::string figures_row(const char* window, const Figures& seen) {
  auto ms = [&](double LatencyFigures::* figure) {
    return seen.latency ? text::milliseconds((*seen.latency).*figure) : std::string("–");
  };
  return fmt::format(
      "<td>{}</td><td class=\"number\">{}</td><td class=\"number\">{} <small>{}</small></td><td "
      "class=\"number\">{}</td><td class=\"number\">{}</td>"
      "<td class=\"number\">{}</td><td class=\"number\">{}</td>",
      window,
      text::count(seen.probes) +
          (seen.unseen ? fmt::format(" <small>{} not asked</small>", text::count(seen.unseen)) : ""),
      seen.probes ? text::percent(seen.availability) : "–",
      seen.probes ? text::percent_interval(seen.availability_ci95) : "", ms(&LatencyFigures::p50_ms),
      ms(&LatencyFigures::p90_ms), ms(&LatencyFigures::p99_ms), ms(&LatencyFigures::max_ms));
}

// How those fared who come as one probe does.
std::string users(const ServiceVerdict& service, const ProbeVerdict& probe, std::string below) {
  std::vector<std::string> rows;
  for (auto* window : {"baseline", "fault", "recovery"})
    if (auto found = probe.windows.find(window); found != probe.windows.end())
      rows.push_back(figures_row(window, found->second));
  if (rows.empty()) rows.push_back("<td colspan=\"7\">no probe was due</td>");
  if (service.probes.size() > 1) below = probe.probe + (below.empty() ? "" : "; " + below);
  if (const auto how = describe_connections(probe); !how.empty()) below += (below.empty() ? "" : "; ") + how;
  auto out = fmt::format(
      "<tbody class=\"group\"><tr><th scope=\"rowgroup\" rowspan=\"{}\">{}<br><small>{}</small></th>{}<td "
      "rowspan=\"{}\">{}</td></tr>\n",
      rows.size(), xml(service.service), xml(below), rows.front(), rows.size(),
      xml(probe.recovered.empty() ? "–" : probe.recovered));
  for (std::size_t i = 1; i < rows.size(); ++i)
    out += "<tr>" + rows[i] + "</tr>\n";
  return out + "</tbody>";
}

std::string outcome_mark(const AlertVerdict& alert) {
  switch (alert.outcome) {
    case AlertOutcome::caught:
      return mark("good", Sign::check, "caught");
    case AlertOutcome::unseen:
      return mark("open", Sign::question, to_string(alert.outcome));
    case AlertOutcome::other:
      return mark("plain", Sign::check, "allowed");
    case AlertOutcome::preexisting:
      if (alert.fired) return mark("open", Sign::question, "pending before");
      return mark(alert.expected ? "bad" : "open", alert.expected ? Sign::cross : Sign::warning,
                  "firing before");
    default:
      return mark("bad", Sign::cross, to_string(alert.outcome));
  }
}

std::string legend(bool with_gaps) {
  auto item = [](std::string_view drawing, std::string_view text) {
    return fmt::format("<li><svg viewBox=\"0 0 22 12\" aria-hidden=\"true\">{}</svg>{}</li>", drawing, text);
  };
  return "<ul class=\"legend\">" +
         item("<rect class=\"fault-bar\" width=\"22\" height=\"12\" rx=\"2\"/>", "fault in force") +
         item("<rect class=\"fault-bar unproven\" x=\"1\" y=\"1\" width=\"20\" height=\"10\" rx=\"2\"/>",
              "fault without a proven effect") +
         item("<polygon class=\"went\" points=\"6,1 16,1 11,11\"/>", "something died or broke") +
         item("<polygon class=\"came-back\" points=\"6,11 16,11 11,1\"/>", "it came back") +
         item("<line class=\"median\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/>", "latency, median") +
         item("<rect class=\"spread\" width=\"22\" height=\"12\"/>", "up to the slowest (logarithmic)") +
         item("<line class=\"bound\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/>", "p99 bound") +
         item("<rect class=\"failed\" width=\"22\" height=\"12\"/>", "share of failed probes") +
         item("<line class=\"back\" x1=\"11\" x2=\"11\" y1=\"0\" y2=\"12\"/>", "back in its steady state") +
         item("<rect class=\"pending\" width=\"22\" height=\"12\" rx=\"2\"/>", "alert pending") +
         item("<rect class=\"firing\" width=\"22\" height=\"12\" rx=\"2\"/>", "alert firing") +
         item("<path class=\"told\" d=\"M11,0 l5,6 l-5,6 l-5,-6 Z\"/>", "squad notified") +
         item("<path class=\"told-resolved\" d=\"M11,0 l5,6 l-5,6 l-5,-6 Z\"/>", "its resolution sent") +
         item("<line class=\"deadline\" x1=\"11\" x2=\"11\" y1=\"0\" y2=\"12\"/>", "must fire by") +
         (with_gaps
              ? item("<rect class=\"gap\" width=\"22\" height=\"12\"/>", "squall stood still, nothing seen")
              : "") +
         "</ul>";
}

}  // namespace

std::string header(const RunRecord& record, const Verdict& verdict) {
  const auto [sign, word] = look(verdict.kind);
  std::string out = "<header><div>\n";
  out += fmt::format("<p class=\"crumb\">Squall drill · {}{}</p>\n", xml(record.scenario_name),
                     record.squad.empty() ? "" : " · squad " + xml(record.squad));
  out += fmt::format("<h1>{}</h1>\n",
                     xml(record.title.empty()
                             ? record.scenario_name.empty() ? "A drill without a name" : record.scenario_name
                             : record.title));
  if (!record.hypothesis.empty())
    out += fmt::format("<blockquote><b>Hypothesis.</b> {}</blockquote>\n", xml(record.hypothesis));
  out +=
      fmt::format("<div class=\"verdict\" role=\"status\">{}<div><strong>{}</strong><p>{}</p></div></div>\n",
                  icon(sign), word, xml(verdict.headline));
  if (verdict.restored == false)
    out += fmt::format(
        "<div class=\"verdict error\" role=\"alert\">{}<div><strong>Not restored</strong><p>A host is not as "
        "found; what is left and how to remove it is "
        "<a href=\"#restored\">below</a>.</p></div></div>\n",
        icon(Sign::warning));
  out += list(verdict.reasons, "reasons");
  const auto took = text::seconds(static_cast<double>(record.last_t) / 1e9);
  out += "<dl class=\"facts\">" +
         fact("When", record.started ? fmt::format("{}, {}", text::day(record.wall_start_ns),
                                                   text::clock(record.wall_start_ns))
                                     : "") +
         fact("Took", took) + fact("From", record.host) +
         fact("Environment", record.scenario.landscape.environment) +
         fact("Seed", std::to_string(record.seed)) + "</dl>\n";
  return out + "</div></header>\n";
}

std::string glance(const RunRecord& record, const Verdict& verdict) {
  std::string out = "<section class=\"glance\" aria-label=\"At a glance\">\n";
  out += users_tile(record, verdict) + paged_tile(verdict) + detection_tile(verdict) + recovery_tile(verdict);
  if (!record.faults.empty())
    out += !verdict.restored   ? tile("Left behind", "not known", "the record does not tell", "open")
           : *verdict.restored ? tile("Left behind", "nothing", "every host is as found", "good")
                               : tile("Left behind", "something", "see what, below", "bad");
  return out + dose_tile(record) + "</section>\n";
}

std::string timeline(const RunRecord& record, const Verdict& verdict) {
  if (record.probes.empty() && record.faults.empty()) return "";
  const auto drawn = draw_timeline(record, verdict);
  std::string body;
  for (auto& sentence : story(record, verdict))
    body += fmt::format("<p>{}</p>\n", xml(sentence));
  body +=
      "<figure><p class=\"hint\" aria-hidden=\"true\">The chart scrolls sideways →</p><div class=\"scroll\" "
      "role=\"region\" aria-label=\"Timeline\" tabindex=\"0\">" +
      drawn.svg + "</div><div id=\"readout\" hidden></div>\n<figcaption>" + legend(!record.gaps.empty()) +
      "</figcaption></figure>\n";
  if (!drawn.table.empty())
    body += "<details><summary>The same as a table</summary>" +
            scrolling("Timeline as a table", drawn.table) + "</details>\n";
  body += fmt::format("<script type=\"application/json\" id=\"timeline-data\">{}</script>\n",
                      markup::script_json(drawn.json));
  return section("what-happened", "What happened", body);
}

std::string expectations(const Verdict& verdict) {
  if (verdict.expectations.empty()) return "";
  std::string rows;
  for (auto& judged : verdict.expectations) {
    const auto sign = judged.outcome == Outcome::held       ? mark("good", Sign::check, "held")
                      : judged.outcome == Outcome::violated ? mark("bad", Sign::cross, "violated")
                                                            : mark("open", Sign::question, "inconclusive");
    rows += fmt::format("<tr><td>{}</td><th scope=\"row\">{}</th><td>{}</td></tr>\n", sign,
                        xml(judged.expectation), xml(judged.evidence));
  }
  return section("expectations", "What was expected",
                 scrolling("Expectations, table", "<table class=\"stack\">" +
                                                      head({"Verdict", "Expectation", "Evidence"}) +
                                                      "<tbody>" + rows + "</tbody></table>"));
}

std::string faults(const RunRecord& record) {
  std::string body;
  for (auto& fault : record.faults) {
    const bool proven = fault.dose && fault.dose->verified;
    body += "<div class=\"fault\"><div class=\"fault-head\">";
    body += fmt::format("<h3>{} <span class=\"muted\">{} on {}</span></h3>{}</div>\n", xml(fault.step),
                        xml(fault.fault), xml(fault.host),
                        !fault.failed.empty() ? mark("bad", Sign::cross, "not applied")
                        : proven              ? mark("good", Sign::check, "effect measured")
                                              : mark("open", Sign::question, "effect not proven"));
    if (!fault.targets.empty()) body += fmt::format("<p>{}</p>\n", xml(text::join(fault.targets)));
    if (!fault.failed.empty()) body += fmt::format("<p>{}</p>\n", xml(fault.failed));
    if (!fault.samples.empty()) body += fmt::format("<p>{}</p>\n", xml(fault.samples));
    if (fault.dose) {
      std::string rows;
      for (auto& row : text::dose_rows(*fault.dose))
        rows += fmt::format(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>\n",
            xml(row.name), row.prescribed.empty() ? "–" : xml(row.prescribed),
            row.measured.empty() ? "–" : xml(row.measured));
      body += scrolling(
          "Dose of " + xml(fault.step) + " on " + xml(fault.host),
          "<table>" + head({"Dose", "#Prescribed", "#Measured"}) + "<tbody>" + rows + "</tbody></table>");
      if (const auto met = text::what_met(fault.dose->shares, fault.dose->witness); !met.empty())
        body += fmt::format("<p>{}</p>\n", xml(met));
      if (!proven) body += fmt::format("<p>{}</p>\n", xml(fault.dose->reason));
    }
    std::vector<std::string> how;
    if (fault.dose)
      how.push_back(fmt::format("{} samples", text::count(static_cast<std::int64_t>(fault.dose->samples))));
    if (!fault.mechanism.empty()) how.push_back("by " + fault.mechanism);
    if (fault.applied_t)
      how.push_back(fmt::format("in force from {}{}", text::clock(record.wall_ns(*fault.applied_t)),
                                in_force(fault).empty() ? "" : " for " + in_force(fault)));
    if (fault.apply_ns > 0)
      how.push_back("applied in " + text::milliseconds(static_cast<double>(fault.apply_ns) / 1e6));
    if (fault.undo_ns > 0)
      how.push_back("undone in " + text::milliseconds(static_cast<double>(fault.undo_ns) / 1e6));
    body += fmt::format("<p class=\"muted small-text\">{}</p>\n", xml(text::join(how, " · ")));
    std::vector<std::string> notes = fault.limits;
    std::size_t told = 0;
    for (auto& event : fault.events) {
      if (++told > 12) break;
      std::string line = fmt::format("{}: {}", text::clock(record.wall_ns(event.t)), event.what);
      for (auto& [key, value] : event.with)
        line += fmt::format(" · {} {}", text::dose_name(std::string_view(key)),
                            text::dose_value(std::string_view(key), value));
      notes.push_back(std::move(line));
    }
    if (told > 12) notes.push_back(fmt::format("and {} more events", fault.events.size() - 12));
    body += list(notes, "notes") + "</div>\n";
  }
  return section("faults", "What was done", body);
}

std::string service_group(const RunRecord& record, const ServiceVerdict& service) {
  auto spec = record.scenario.landscape.services.find(service.service);
  std::string below = service.squad.empty() ? "" : "squad " + service.squad;
  if (spec != record.scenario.landscape.services.end() && !spec->second.depends_on.empty())
    below += (below.empty() ? "" : ", ") + ("needs " + text::join(spec->second.depends_on));
  std::string out;
  for (auto& probe : service.probes)
    out += users(service, probe, below);
  return out;
}

std::string services_table(std::string_view label, const std::string& groups) {
  return scrolling(label, "<table>" +
                              head({"Service", "Window", "#Probes", "#Availability (95% CI)", "#p50", "#p90",
                                    "#p99", "#Slowest", "Recovery"}) +
                              groups + "</table>");
}

// Those that were worse off first; where there are some, the others are folded.
std::string services(const RunRecord& record, const Verdict& verdict) {
  if (verdict.services.empty()) return "";
  std::string affected, others;
  std::size_t unaffected = 0;
  for (auto& service : verdict.services) {
    const bool worse = was_affected(service);
    unaffected += !worse;
    (worse ? affected : others) += service_group(record, service);
  }
  std::string body;
  if (!affected.empty()) body += services_table("Services, table", affected);
  if (!others.empty() && affected.empty())
    body += services_table("Services, table", others);
  else if (!others.empty())
    body += fmt::format("<details><summary>{} service{} felt nothing</summary>{}</details>\n", unaffected,
                        unaffected == 1 ? "" : "s", services_table("Unaffected services, table", others));
  return section("services", "How users fared",
                 body +
                     "<p class=\"muted small-text\">Latency counts from when a probe was due. A timeout is a "
                     "slow answer; a refused connection is none, and counts against availability alone.</p>");
}

// Expected alerts, and as many of the others as one reads through; the rest by name.
std::string alert_rows(const Verdict& verdict) {
  std::string rows;
  std::size_t shown = 0;
  std::map<std::pair<std::string, std::string>, std::size_t> rest;
  for (auto& alert : verdict.alerts) {
    if (!alert.expected && ++shown > most_items) {
      ++rest[{alert.alert, outcome_mark(alert)}];
      continue;
    }
    rows += fmt::format(
        "<tr><td>{}</td><th scope=\"row\">{}<br><small>{}</small></th><td>{}</td><td>{}</td></tr>\n",
        outcome_mark(alert), xml(alert.alert), xml(text::labels(alert.labels, "alertname")),
        alert.expected ? "yes" : "no", xml(alert.text));
  }
  std::size_t names = 0;
  for (auto& [which, times] : rest) {
    if (++names > most_items) continue;
    rows +=
        fmt::format("<tr><td>{}</td><th scope=\"row\">{}</th><td>no</td><td>{} more of this name</td></tr>\n",
                    which.second, xml(which.first), text::count(static_cast<std::int64_t>(times)));
  }
  if (names > most_items)
    rows += fmt::format(
        "<tr><td></td><td colspan=\"3\">{} more names: the record and report.json have them all</td></tr>\n",
        names - most_items);
  return rows;
}

std::string alerts(const Verdict& verdict) {
  if (verdict.alerts.empty()) return "";
  auto body = scrolling("Alerts, table", "<table>" + head({"Outcome", "Alert", "Expected", "What it did"}) +
                                             "<tbody>" + alert_rows(verdict) + "</tbody></table>");
  auto& score = verdict.score;
  if (score.expected)
    body += fmt::format("<p class=\"muted small-text\">Caught {} of {}. Recall {}, precision {}{}.</p>",
                        score.caught, score.expected, score.recall ? text::percent(*score.recall) : "–",
                        score.precision ? text::percent(*score.precision) : "–",
                        score.mean_detection_s
                            ? ", detected after " + text::seconds(*score.mean_detection_s) + " on average"
                            : "");
  return section("alerts", "Alerts", body);
}

std::string findings(const Verdict& verdict) {
  return section("findings", "Worth knowing", list(verdict.findings, "plain"));
}

std::string restored(const RunRecord& record, const Verdict& verdict) {
  if (record.faults.empty() && record.restored.empty()) return "";
  std::string body = !verdict.restored   ? mark("open", Sign::question,
                                                "The record does not tell whether the hosts are as found.")
                     : *verdict.restored ? mark("good", Sign::check, "Everything is as found.")
                                         : mark("bad", Sign::cross, "Not everything is as found.");
  std::vector<std::string> hosts;
  for (auto& host : record.restored) {
    if (!host.note.empty()) hosts.push_back(fmt::format("{}: {}", host.host, host.note));
    if (host.note.empty() || !host.clean)
      hosts.push_back(fmt::format(
          "{}: {}", host.host,
          host.clean ? "compared with its state before the drill, no difference" : "not as found"));
  }
  body += list(hosts, "plain") + list(verdict.differences, "plain") + list(verdict.next_steps, "plain");
  for (auto& left : verdict.left) {
    body += fmt::format("<p>{}: {}</p>", xml(left.host), xml(left.detail));
    if (!left.by_hand.empty())
      body += fmt::format("<p>Remove it by hand:</p><pre>{}</pre>", xml(left.by_hand));
  }
  return section("restored", "Restored", body);
}

std::string background(const RunRecord& record) {
  std::string body;
  for (auto& step : record.plan) {
    std::string rows;
    for (auto& change : step.changes) {
      const auto* object = change.if_object();
      auto member = [&](const char* key) {
        auto* found = object ? object->if_contains(key) : nullptr;
        return found ? found->is_string() ? std::string(found->get_string()) : boost::json::serialize(*found)
                     : std::string();
      };
      rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n",
                          xml(object ? member("do") : boost::json::serialize(change)), xml(member("undo")));
    }
    body +=
        fmt::format("<h3>{} <span class=\"muted\">{} on {}{}</span></h3>\n", xml(step.step), xml(step.fault),
                    xml(step.host), step.mechanism.empty() ? "" : " by " + xml(step.mechanism));
    if (!rows.empty())
      body +=
          scrolling("Plan of " + xml(step.step) + " on " + xml(step.host),
                    "<table>" + head({"Change", "How it is undone"}) + "<tbody>" + rows + "</tbody></table>");
  }
  std::string out;
  if (!body.empty())
    out += "<details><summary>The plan: every change and its undo</summary>" + body + "</details>\n";
  if (!record.scenario_yaml.empty())
    out += "<details><summary>The scenario</summary><pre tabindex=\"0\">" + xml(record.scenario_yaml) +
           "</pre></details>\n";
  if (!record.landscape_yaml.empty())
    out += "<details><summary>The landscape</summary><pre tabindex=\"0\">" + xml(record.landscape_yaml) +
           "</pre></details>\n";
  out += "<dl class=\"facts\">" + fact("Run", record.run) + fact("Seed", std::to_string(record.seed)) +
         fact("Squall", record.version) + fact("Run from", record.host) +
         fact("Started by", record.started_by) + fact("Files", text::join(record.files)) + "</dl>";
  return section("background", "To repeat it", out);
}

}  // namespace squall::html
