#include "controller/serve/pages.hpp"

#include <ctime>

#include <fmt/format.h>

#include "controller/serve/api.hpp"
#include "controller/serve/daemon.hpp"
#include "controller/serve/tell.hpp"
#include "reports/html/page.hpp"
#include "reports/render/markup.hpp"

namespace squall::serve {
namespace {

using markup::xml;

std::string framed(const std::string& title, const std::string& head, const std::string& body, bool live) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">"
      "<title>{}</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" "
      "href=\"/page.css\">{}</head>\n"
      "<body><header><div>{}</div></header>\n<main>{}</main>\n<footer>squall {}</footer></body>\n</html>\n",
      xml(title), live ? "<script src=\"/page.js\" defer></script>" : "", head, body, SQUALL_VERSION);
}

std::string button(const std::string& action, const std::string& text, const std::string& fields = "",
                   const std::string& look = "") {
  return fmt::format("<form method=\"post\" action=\"{}\">{}<button{}>{}</button></form>", xml(action),
                     fields, look.empty() ? "" : " class=\"" + look + "\"", xml(text));
}

std::string hidden(const std::string& name, const std::string& value) {
  return fmt::format("<input type=\"hidden\" name=\"{}\" value=\"{}\">", xml(name), xml(value));
}

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (auto& one : all)
    out += (out.empty() ? "" : ", ") + one;
  return out;
}

std::string section(const std::string& title, const std::string& body) {
  return fmt::format("<section><h2>{}</h2>{}</section>\n", title, body);
}

std::string table(std::initializer_list<const char*> heads, const std::string& rows) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\"><table class=\"stack\"><thead><tr>";
  for (auto* head : heads)
    out += fmt::format("<th scope=\"col\">{}</th>", head);
  return out + "</tr></thead><tbody>" + rows + "</tbody></table></div>";
}

std::string told_touched(const Touched& touched) {
  const auto services = joined(touched.services);
  return services + (services.empty() || touched.beyond.empty() ? "" : "; ") + touched.beyond;
}

std::string drill_row(Daemon& daemon, const Person& person, const FolderDrill& drill) {
  std::string approved, actions;
  std::vector<std::string> squads;
  for (auto& one : daemon.store.approvals(drill.name, std::time(nullptr))) {
    if (one.hash != drill.hash) continue;
    squads.push_back(one.squad);
    approved += fmt::format("{}{} until {}", approved.empty() ? "" : ", ", one.squad, moment(one.until));
  }
  auto touched = drill.touched;
  if (daemon.folder.landscape.squads.empty()) touched.beyond.clear();
  const auto why = drill.refused.empty() ? may_not_start(person, touched, squads) : drill.refused;
  const auto at = "/api/v1/drills/" + drill.name;
  if (why.empty())
    actions += button(at + "/start", "Start", hidden("hash", drill.hash));
  else
    actions += fmt::format("<small>{}</small>", xml(why));
  for (auto& squad : drill.touched.squads)
    if (may_approve(person, squad) && squad != drill.squad)
      actions += button(at + "/approve", "Approve for " + squad,
                        hidden("hash", drill.hash) + hidden("squad", squad)) +
                 button(at + "/withdraw", "Withdraw", hidden("squad", squad));
  return fmt::format(
      "<tr><th scope=\"row\">{}<br><small>{}</small></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
      xml(drill.title.empty() ? drill.name : drill.title), xml(drill.path), xml(drill.squad),
      xml(told_touched(drill.touched)), xml(approved), actions);
}

std::string schedules(Daemon& daemon) {
  std::string rows;
  for (auto& [name, spec] : daemon.folder.schedules.schedules) {
    std::string next;
    for (auto& one : daemon.scheduler.next(name, 10))
      next += fmt::format("<li>{} <small>{}{}</small></li>", xml(one.local), moment(one.starts_at),
                          one.not_now.empty() ? "" : ", skipped: " + xml(one.not_now));
    const auto paused = daemon.store.paused_by(name);
    rows += fmt::format(
        "<tr><th scope=\"row\">{}<br><small>{} {}</small></th><td>{}</td><td><details><summary>next "
        "ten</summary>"
        "<ol>{}</ol></details></td><td>{}{}</td></tr>",
        xml(name), xml(spec.cron), xml(spec.time_zone), xml(spec.drill), next,
        paused.empty() ? "" : fmt::format("<small>paused by {}</small>", xml(paused)),
        button(fmt::format("/api/v1/schedules/{}/{}", name, paused.empty() ? "pause" : "resume"),
               paused.empty() ? "Pause" : "Resume"));
  }
  std::string skipped;
  for (auto& one : daemon.store.occurrences(20))
    skipped += fmt::format("<li>{} {}: {} {}</li>", moment(one.due), xml(one.schedule), xml(one.state),
                           xml(one.reason));
  return section("Schedules", table({"schedule", "drill", "when", ""}, rows) +
                                  (skipped.empty() ? ""
                                                   : "<h3>What became of the last</h3><ul class=\"notes\">" +
                                                         skipped + "</ul>"));
}

std::string runs(Daemon& daemon) {
  std::string rows;
  for (auto& run : daemon.store.runs(30))
    if (run.state == "ended")
      rows += fmt::format(
          "<tr class=\"{}\"><th scope=\"row\"><a href=\"/runs/{}\">{}</a></th><td><b "
          "class=\"tone\">{}</b></td>"
          "<td>{}</td><td>{}</td><td>{}</td></tr>",
          xml(run.verdict), xml(run.id), xml(run.title.empty() ? run.drill : run.title), xml(run.verdict),
          xml(run.detail), moment(run.started_at), xml(run.started_by));
  return section("Runs", table({"drill", "verdict", "why", "started", "by"}, rows));
}

std::string scorecard(Daemon& daemon) {
  std::string rows;
  for (auto& [service, score] : scores(daemon)) {
    const auto known = daemon.folder.landscape.services.find(service);
    const auto value = score.of_100();
    rows += fmt::format(
        "<tr><th "
        "scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        xml(service), known == daemon.folder.landscape.services.end() ? "" : xml(known->second.squad),
        value ? std::to_string(*value) : "unknown", score.passed, score.failed, score.uncounted, score.never);
  }
  return section("Scorecard",
                 table({"service", "squad", "score", "passed", "failed", "neither", "never drilled"}, rows));
}

std::string followups(Daemon& daemon) {
  std::string out;
  for (auto& one : tell_followups(daemon)) {
    auto text = [&](const char* key) { return xml(std::string_view(one.at(key).as_string())); };
    out += fmt::format("<li><a href=\"/runs/{}\">{}</a> ({}), open since {}: {}</li>", text("run"),
                       text("drill"), text("owner"), text("open_since"), text("finding"));
  }
  return out.empty() ? "" : section("Open follow-ups", "<ul class=\"plain\">" + out + "</ul>");
}

std::string broken(const Folder& folder) {
  std::string out;
  for (auto& file : folder.broken)
    out += fmt::format("<h3>{}</h3><pre>{}</pre>", xml(file.path), xml(file.errors));
  return out.empty() ? "" : section("Files that are wrong", out);
}

std::string gamedays(const Folder& folder) {
  std::string out;
  for (auto& [name, day] : folder.gamedays)
    out +=
        fmt::format("<li><a href=\"/gamedays/{}\">{}</a> {}</li>", xml(name), xml(day.title), xml(day.date));
  return out.empty() ? "" : section("Game days", "<ul class=\"plain\">" + out + "</ul>");
}

std::string freeze_part(Daemon& daemon, const Person& person) {
  const auto freeze = daemon.store.frozen(std::time(nullptr));
  std::string out;
  if (freeze)
    out += fmt::format("<p><b>All drills are frozen by {}: {}</b></p>", xml(freeze->by), xml(freeze->why));
  if (may_freeze(person))
    out += freeze ? button("/api/v1/lift", "Lift the freeze")
                  : button("/api/v1/freeze", "Freeze all drills",
                           "<label>Why <input name=\"why\" maxlength=\"300\" required></label> ");
  return out;
}

std::string halt_button(const Person& person) {
  if (!may_halt_all(person)) return "";
  return "<form method=\"post\" action=\"/api/v1/halt\" id=\"halt\"><button class=\"halt\" "
         "accesskey=\"h\">Halt all drills"
         "</button></form>";
}

std::string drills_part(Daemon& daemon, const Person& person) {
  std::string rows;
  for (auto& [name, drill] : daemon.folder.drills)
    rows += drill_row(daemon, person, drill);
  return section("Drills", table({"drill", "squad", "touches", "approved by", ""}, rows));
}

}  // namespace

std::string now_part(Daemon& daemon) {
  std::string out;
  for (auto& run : daemon.runner.running()) {
    const auto* live = daemon.runner.live(run.id);
    std::string facts;
    if (live) {
      for (auto& [step, dose] : live->doses)
        facts += fmt::format("<li>dose of {}: <code>{}</code></li>", xml(step), xml(dose));
      for (auto& [service, seen] : live->users)
        facts += fmt::format("<li>{}: {} of {} answered in this window</li>", xml(service), seen.first,
                             seen.second);
      for (auto& alert : live->alerts)
        facts += fmt::format("<li>alert {}</li>", xml(alert));
    }
    out += fmt::format(
        "<div class=\"fault\"><div class=\"fault-head\"><h3>{}</h3><span class=\"muted\">{}, since {}, by "
        "{}</span>{}</div>"
        "<ul class=\"notes\">{}</ul></div>",
        xml(run.title.empty() ? run.drill : run.title), live ? xml(live->window) : "", moment(run.started_at),
        xml(run.started_by), button("/api/v1/runs/" + run.id + "/halt", "Halt"), facts);
  }
  return out.empty() ? "<p class=\"muted\">No drill is running.</p>" : out;
}

std::string main_page(Daemon& daemon, const Person& person) {
  const auto& environment = daemon.folder.landscape.environment;
  const auto head = fmt::format(
      "<p class=\"crumb\">{} · <span id=\"live\" role=\"status\"></span></p><h1>Drills{}</h1>{}{}",
      xml(person.id), environment.empty() ? "" : " in " + xml(environment), halt_button(person),
      freeze_part(daemon, person) + button("/logout", "Log out"));
  const auto body = section("Now", "<div id=\"now\">" + now_part(daemon) + "</div>") + followups(daemon) +
                    broken(daemon.folder) + gamedays(daemon.folder) + drills_part(daemon, person) +
                    schedules(daemon) + runs(daemon) + scorecard(daemon);
  return framed("Squall", head, body, true);
}

std::string gameday_page(Daemon& daemon, const Person& person, const std::string& name) {
  const auto found = daemon.folder.gamedays.find(name);
  if (found == daemon.folder.gamedays.end()) throw Refusal{404, "no game day is called so"};
  const auto& day = found->second;
  std::string who, rows, notes, plan;
  for (auto& [role, one] :
       {std::pair{"facilitator", day.facilitator}, {"incident lead", day.lead}, {"scribe", day.scribe}})
    if (!one.empty()) who += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", role, xml(one));
  for (auto& objective : day.objectives)
    plan += fmt::format("<li>{}</li>", xml(objective));
  for (auto& check : day.checks)
    plan += fmt::format("<li>before it begins: {}</li>", xml(check));
  for (auto& drill : day.drills)
    if (const auto known = daemon.folder.drills.find(drill); known != daemon.folder.drills.end())
      rows += drill_row(daemon, person, known->second);
  for (auto& note : daemon.store.notes(name))
    notes += fmt::format("<li>{} <b>{}</b> {}</li>", moment(note.at), xml(note.who), xml(note.text));
  const auto head = fmt::format(
      "<p class=\"crumb\"><a href=\"/\">Squall</a> · game day · <span id=\"live\" role=\"status\"></span></p>"
      "<h1>{}</h1><dl class=\"facts\"><div><dt>date</dt><dd>{}</dd></div>{}</dl>{}",
      xml(day.title), xml(day.date), who, halt_button(person));
  const auto body =
      section("Now", "<div id=\"now\">" + now_part(daemon) + "</div>") +
      (plan.empty() ? "" : section("What is to be learnt", "<ul class=\"plain\">" + plan + "</ul>")) +
      section("Drills, in order", table({"drill", "squad", "touches", "approved by", ""}, rows)) +
      section("Notes", "<ul class=\"plain\">" + notes + "</ul>" +
                           button("/api/v1/gamedays/" + name + "/notes", "Write down",
                                  "<label>Note <input name=\"text\" maxlength=\"2000\" required></label> "));
  return framed(day.title, head, body, true);
}

std::string login_page(const std::string& problem) {
  return framed(
      "Squall", "<h1>Squall</h1>",
      section("Who are you?", (problem.empty() ? "" : "<p role=\"alert\"><b>" + xml(problem) + "</b></p>") +
                                  button("/login", "Go on",
                                         "<label>Token <input name=\"token\" type=\"password\" "
                                         "autocomplete=\"current-password\" required autofocus></label> ")),
      false);
}

std::string error_page(int status, const std::string& why) {
  return framed("Squall", fmt::format("<p class=\"crumb\"><a href=\"/\">Squall</a></p><h1>{}</h1>", status),
                section("It was not done", "<p>" + xml(why) + "</p>"), false);
}

std::string page_css() {
  return std::string(page_style) + R"css(
:root { --tone: var(--latency); }
form { display: inline-flex; gap: 6px; align-items: center; margin: 4px 8px 4px 0; flex-wrap: wrap; }
button, input { font: inherit; padding: 6px 14px; border-radius: 8px; border: 1px solid var(--line); background: var(--soft); color: var(--ink); }
button { cursor: pointer; } button:focus-visible, input:focus-visible, a:focus-visible { outline: 2px solid var(--latency); outline-offset: 2px; }
button.halt { background: #b4261a; color: #fff; border-color: #b4261a; font-weight: 650; font-size: 1.05rem; padding: 10px 22px; margin-top: 12px; }
a { color: var(--latency); } tr { --tone: var(--ink); } .tone { color: var(--tone); } pre { white-space: pre-wrap; }
.stale #now { opacity: .45; }
)css";
}

const std::string_view page_js = R"js("use strict";
(() => {
  const live = document.getElementById("live"), now = document.getElementById("now");
  let asking = false, again = false, heard = Date.now();
  const say = (text, stale) => { live.textContent = text; document.body.classList.toggle("stale", stale); };
  const fetchNow = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch("/now", {headers: {Accept: "text/html"}});
      if (answer.redirected || !answer.ok) return location.reload();
      const html = await answer.text();
      if (!now.contains(document.activeElement)) now.innerHTML = html;
    } catch { say("not live: the server does not answer", true); }
    asking = false;
    if (again) { again = false; fetchNow(); }
  };
  const source = new EventSource("/api/v1/events");
  source.onopen = () => { heard = Date.now(); say("live", false); fetchNow(); };
  source.onerror = () => say("not live: reconnecting", true);
  for (const kind of ["run.started", "record", "users", "reset", "note"])
    source.addEventListener(kind, () => { heard = Date.now(); say("live", false); fetchNow(); });
  for (const kind of ["run.ended", "folder.read", "occurrence.skipped"])
    source.addEventListener(kind, () => location.reload());
  setInterval(() => { if (source.readyState === 1 && Date.now() - heard > 3000) fetchNow().then(() => heard = Date.now()); }, 5000);
})();
)js";

}  // namespace squall::serve
