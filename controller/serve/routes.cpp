// Every route, and what it does.
#include <algorithm>
#include <ctime>
#include <filesystem>

#include <fmt/format.h>

#include "controller/serve/api.hpp"
#include "controller/serve/daemon.hpp"
#include "controller/serve/pages.hpp"
#include "controller/serve/tell.hpp"
#include "reports/html/page.hpp"

namespace squall::serve {
namespace {

namespace json = boost::json;
using http::ServerAnswer;

constexpr std::int64_t month = 31 * 86'400;

void note(const Call& call, const std::string& what, const std::string& object,
          const std::string& detail = "") {
  call.daemon.store.audit(
      {0, std::time(nullptr), call.person.id, what, object, detail.substr(0, 500), call.request.remote});
  call.daemon.events.tell("audit", {{"who", call.person.id}, {"what", what}, {"object", object}});
}

const FolderDrill& drill_of(const Call& call) {
  const auto& drills = call.daemon.folder.drills;
  const auto found = drills.find(call.path.at("drill"));
  if (found == drills.end()) throw Refusal{404, "no drill here is called so, or its file is wrong"};
  return found->second;
}

// "30m" from now, in seconds.
std::int64_t lasting(const Call& call, const std::string& otherwise, std::int64_t most) {
  const auto text = call.field("for").empty() ? otherwise : call.field("for");
  const auto read = parse_duration(text);
  if (!read) throw Refusal{400, "for: " + read.error()};
  const auto seconds = read->ns / 1'000'000'000;
  if (seconds < 1 || seconds > most)
    throw Refusal{400, fmt::format("for: expected 1s to {}d", most / 86'400)};
  return seconds;
}

ServerAnswer start(const Call& call) {
  auto& daemon = call.daemon;
  const auto& drill = drill_of(call);
  const std::int64_t now = std::time(nullptr);
  if (daemon.stopping) throw Refusal{503, "the daemon is ending"};
  if (!drill.refused.empty()) throw Refusal{409, drill.refused};
  if (const auto hash = call.field("hash"); !hash.empty() && hash != drill.hash)
    throw Refusal{409, "the drill was changed meanwhile; look again"};
  std::vector<std::string> approved;
  for (auto& one : daemon.store.approvals(drill.name, now))
    if (one.hash == drill.hash) approved.push_back(one.squad);
  auto touched = drill.touched;
  if (daemon.folder.landscape.squads.empty()) touched.beyond.clear();
  if (const auto why = may_not_start(call.person, touched, approved); !why.empty()) throw Refusal{403, why};
  if (const auto freeze = daemon.store.frozen(now))
    throw Refusal{409, fmt::format("all drills are frozen by {}: {}", freeze->by, freeze->why)};
  if (const auto why = daemon.runner.in_the_way(daemon.folder.landscape, drill.touched); !why.empty())
    throw Refusal{409, why};
  note(call, "start", drill.name, drill.hash);
  return json_answer(
      tell_run(daemon.runner.start(drill, daemon.folder.landscape_text, {call.person.id, "", 0})), 202);
}

Touched touched_by(const StoredRun& run) {
  return {run.services, run.squads, ""};
}

ServerAnswer halt(const Call& call) {
  const auto run = call.daemon.store.run(call.path.at("run"));
  if (!run) throw Refusal{404, "no run is called so"};
  if (!may_halt(call.person, touched_by(*run), run->started_by == call.person.id))
    throw Refusal{403, "halting it takes a member of a squad it touches, a facilitator, a lead or an admin"};
  if (!call.daemon.runner.halt(run->id)) throw Refusal{409, "it does not run"};
  note(call, "halt", run->id);
  return json_answer(json::object{{"halting", 1}}, 202);
}

ServerAnswer halt_all(const Call& call) {
  if (!may_halt_all(call.person))
    throw Refusal{403, "halting everything takes a facilitator, a lead or an admin"};
  const auto count = call.daemon.runner.halt_all();
  note(call, "halt all", "", fmt::format("{} drills", count));
  return json_answer(json::object{{"halting", count}}, 202);
}

ServerAnswer approve(const Call& call) {
  const auto& drill = drill_of(call);
  const auto squad = call.field("squad");
  if (!may_approve(call.person, squad)) throw Refusal{403, "only its members approve for a squad"};
  if (call.field("hash") != drill.hash)
    throw Refusal{409, "hash: expected that of the drill as it is now: an approval is of its content"};
  const std::int64_t now = std::time(nullptr);
  const auto until = now + lasting(call, "168h", month);
  call.daemon.store.approve({0, now, until, drill.name, drill.hash, squad, call.person.id});
  note(call, "approve", drill.name, fmt::format("for {} until {}, {}", squad, moment(until), drill.hash));
  return json_answer(json::object{{"approved", squad}, {"until", moment(until)}});
}

ServerAnswer withdraw(const Call& call) {
  const auto squad = call.field("squad");
  if (!may_approve(call.person, squad)) throw Refusal{403, "only its members withdraw for a squad"};
  const auto count =
      call.daemon.store.withdraw(call.path.at("drill"), squad, call.person.id, std::time(nullptr));
  note(call, "withdraw", call.path.at("drill"), squad);
  return json_answer(json::object{{"withdrawn", count}});
}

ServerAnswer freeze(const Call& call) {
  if (!may_freeze(call.person)) throw Refusal{403, "freezing takes a lead or an admin"};
  const std::int64_t now = std::time(nullptr);
  const auto until = call.field("for").empty() ? 0 : now + lasting(call, "", month);
  const auto why =
      call.field("why").empty() ? std::string("no reason was given") : call.field("why").substr(0, 300);
  call.daemon.store.freeze({0, now, until, call.person.id, why});
  note(call, "freeze", "", why);
  return json_answer(json::object{{"frozen", true}});
}

ServerAnswer lift(const Call& call) {
  if (!may_freeze(call.person)) throw Refusal{403, "lifting a freeze takes a lead or an admin"};
  const auto count = call.daemon.store.lift(call.person.id, std::time(nullptr));
  note(call, "lift freeze", "");
  return json_answer(json::object{{"lifted", count}});
}

ServerAnswer pause(const Call& call, bool on) {
  const auto name = call.path.at("schedule");
  const auto& all = call.daemon.folder.schedules.schedules;
  const auto found = all.find(name);
  if (found == all.end()) throw Refusal{404, "no schedule is called so"};
  const auto drill = call.daemon.folder.drills.find(found->second.drill);
  const bool own =
      drill != call.daemon.folder.drills.end() &&
      (call.person.in(drill->second.squad) || may_halt(call.person, drill->second.touched, false));
  if (!own && !may_halt_all(call.person))
    throw Refusal{403, "this takes a member of a squad it touches, a facilitator, a lead or an admin"};
  call.daemon.store.pause(name, on ? call.person.id : "");
  note(call, on ? "pause" : "resume", name);
  call.daemon.scheduler.look_again();
  return json_answer(json::object{{"paused", on}});
}

ServerAnswer add_note(const Call& call) {
  const auto name = call.path.at("gameday");
  if (!call.daemon.folder.gamedays.contains(name)) throw Refusal{404, "no game day is called so"};
  if (call.person.roles == std::vector{Role::viewer}) throw Refusal{403, "viewers only read"};
  const auto text = call.field("text");
  if (text.empty() || text.size() > 2000) throw Refusal{400, "text: expected 1 to 2000 bytes"};
  call.daemon.store.note({0, std::time(nullptr), name, call.person.id, text});
  call.daemon.events.tell("note", {{"gameday", name}, {"who", call.person.id}, {"text", text}});
  return json_answer(json::object{{"noted", true}});
}

ServerAnswer report(const Call& call) {
  const auto run = call.daemon.store.run(call.path.at("run"));
  if (!run) throw Refusal{404, "no run is called so"};
  const auto folder = record_folder(run->folder);
  Diagnostics unreadable{"report.html"};
  DocumentLimits limits;
  limits.bytes = 64 << 20;
  const auto text = folder.empty() ? "" : read_text_file(folder + "/report.html", unreadable, limits);
  if (text.empty())
    throw Refusal{404, run->ended_at ? "it has no report: " + run->detail : "it is still running"};
  return {200, text, "text/html; charset=utf-8", {{"Content-Security-Policy", std::string(page_policy)}}};
}

ServerAnswer events(const Call& call) {
  return call.daemon.events.watch(call.request.header("last-event-id"));
}

ServerAnswer page(std::string text) {
  return {200, std::move(text), "text/html; charset=utf-8"};
}

template <class Tell>
auto told(Tell tell) {
  return [tell](const Call& call) { return json_answer(tell(call.daemon)); };
}

}  // namespace

const std::vector<Route>& routes() {
  using C = const Call&;
  static const std::vector<Route> all{
      {"GET", "/", "the page", {}, [](C c) { return page(main_page(c.daemon, c.person)); }},
      {"GET",
       "/now",
       "what runs now, as a part of the page",
       {},
       [](C c) { return page(now_part(c.daemon)); }},
      {"GET",
       "/gamedays/{gameday}",
       "a game day's page",
       {},
       [](C c) { return page(gameday_page(c.daemon, c.person, c.path.at("gameday"))); }},
      {"GET", "/runs/{run}", "a run's report", {}, report},
      {"GET",
       "/metrics",
       "Squall itself, for Prometheus",
       {},
       [](C c) { return ServerAnswer{200, metrics(c.daemon), "text/plain; version=0.0.4; charset=utf-8"}; }},
      {"GET", "/openapi.json", "this list", {}, [](C) { return json_answer(openapi()); }},
      {"GET", "/api/v1/drills", "the drills of the folder, and what is wrong in it", {}, told(tell_drills)},
      {"POST", "/api/v1/drills/{drill}/start", "start it", {"hash"}, start},
      {"POST", "/api/v1/drills/{drill}/approve", "approve it for a squad", {"squad", "hash", "for"}, approve},
      {"POST", "/api/v1/drills/{drill}/withdraw", "withdraw a squad's approval", {"squad"}, withdraw},
      {"GET", "/api/v1/runs", "runs, the newest first", {}, told(tell_runs)},
      {"POST", "/api/v1/runs/{run}/halt", "halt it", {}, halt},
      {"POST", "/api/v1/halt", "halt every drill", {}, halt_all},
      {"POST", "/api/v1/freeze", "begin no drill", {"for", "why"}, freeze},
      {"POST", "/api/v1/lift", "drills may begin again", {}, lift},
      {"GET", "/api/v1/schedules", "schedules and their next ten occurrences", {}, told(tell_schedules)},
      {"GET", "/api/v1/occurrences", "what became of occurrences", {}, told(tell_occurrences)},
      {"POST", "/api/v1/schedules/{schedule}/pause", "pause it", {}, [](C c) { return pause(c, true); }},
      {"POST", "/api/v1/schedules/{schedule}/resume", "resume it", {}, [](C c) { return pause(c, false); }},
      {"GET", "/api/v1/scorecard", "how services and squads stand", {}, told(tell_scorecard)},
      {"GET", "/api/v1/followups", "drills whose last result is a failure", {}, told(tell_followups)},
      {"GET", "/api/v1/gamedays", "game days", {}, told(tell_gamedays)},
      {"POST", "/api/v1/gamedays/{gameday}/notes", "write something down", {"text"}, add_note},
      {"GET", "/api/v1/audit", "who did what", {}, told(tell_audit)},
      {"GET", "/api/v1/events", "what happens, as server-sent events", {}, events},
  };
  return all;
}

}  // namespace squall::serve
