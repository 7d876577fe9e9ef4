#include "controller/serve/tell.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "controller/serve/daemon.hpp"
#include "scenarios/schema/times.hpp"

namespace squall::serve {
namespace {

namespace json = boost::json;

constexpr std::int64_t result_lasts = 90 * 86'400;

json::array list(const std::vector<std::string>& all) {
  return json::value_from(all).as_array();
}

bool counts(const StoredRun& run) {
  return run.verdict == "pass" || run.verdict == "fail";
}

json::object tell_score(const Score& score) {
  const auto value = score.of_100();
  return {{"score", value ? json::value(*value) : json::value("unknown")},
          {"passed", score.passed},
          {"failed", score.failed},
          {"uncounted", score.uncounted},
          {"never", score.never}};
}

}  // namespace

std::string moment(std::int64_t seconds) {
  if (seconds == 0) return "";
  auto out = rfc3339(seconds * 1'000'000'000);
  return out.substr(0, 19) + "Z";
}

json::object tell_run(const StoredRun& run) {
  return {{"run", run.id},
          {"drill", run.drill},
          {"title", run.title},
          {"squad", run.squad},
          {"services", list(run.services)},
          {"squads", list(run.squads)},
          {"hash", run.hash},
          {"started_by", run.started_by},
          {"schedule", run.schedule},
          {"due", moment(run.due)},
          {"state", run.state},
          {"verdict", run.verdict},
          {"detail", run.detail},
          {"exit_code", run.exit_code ? json::value(*run.exit_code) : json::value()},
          {"started_at", moment(run.started_at)},
          {"ended_at", moment(run.ended_at.value_or(0))},
          {"pid", run.pid}};
}

json::object tell_drills(Daemon& daemon) {
  json::array drills, broken;
  const std::int64_t now = std::time(nullptr);
  for (auto& [name, drill] : daemon.folder.drills) {
    json::array approvals;
    for (auto& one : daemon.store.approvals(name, now))
      approvals.push_back(json::object{{"squad", one.squad},
                                       {"by", one.by},
                                       {"until", moment(one.until)},
                                       {"of_this_content", one.hash == drill.hash}});
    drills.push_back(json::object{{"drill", name},
                                  {"title", drill.title},
                                  {"squad", drill.squad},
                                  {"file", drill.path},
                                  {"hash", drill.hash},
                                  {"services", list(drill.touched.services)},
                                  {"squads", list(drill.touched.squads)},
                                  {"beyond", drill.touched.beyond},
                                  {"refused", drill.refused},
                                  {"approvals", std::move(approvals)}});
  }
  for (auto& file : daemon.folder.broken)
    broken.push_back(json::object{{"file", file.path}, {"errors", file.errors}});
  return {{"drills", std::move(drills)}, {"broken", std::move(broken)}};
}

json::array tell_runs(Daemon& daemon) {
  json::array out;
  for (auto& run : daemon.store.runs(200))
    out.push_back(tell_run(run));
  return out;
}

json::array tell_schedules(Daemon& daemon) {
  json::array out;
  for (auto& [name, spec] : daemon.folder.schedules.schedules) {
    json::array next;
    for (auto& one : daemon.scheduler.next(name, 10))
      next.push_back(json::object{{"due", moment(one.due)},
                                  {"starts_at", moment(one.starts_at)},
                                  {"local", one.local},
                                  {"skipped_since", one.not_now}});
    out.push_back(json::object{{"schedule", name},
                               {"drill", spec.drill},
                               {"cron", spec.cron},
                               {"time_zone", spec.time_zone},
                               {"seed", daemon.scheduler.seed()},
                               {"paused_by", daemon.store.paused_by(name)},
                               {"next", std::move(next)}});
  }
  return out;
}

json::array tell_occurrences(Daemon& daemon) {
  json::array out;
  for (auto& one : daemon.store.occurrences(200))
    out.push_back(json::object{{"schedule", one.schedule},
                               {"due", moment(one.due)},
                               {"starts_at", moment(one.starts_at)},
                               {"state", one.state},
                               {"reason", one.reason},
                               {"run", one.run}});
  return out;
}

std::optional<int> Score::of_100() const {
  const int counted = passed + failed;
  if (counted == 0) return {};
  return 100 * passed / counted;
}

std::map<std::string, Score> scores(Daemon& daemon) {
  std::map<std::string, Score> out;
  for (auto& [name, service] : daemon.folder.landscape.services)
    out[name];
  const std::int64_t now = std::time(nullptr);
  for (auto& [name, drill] : daemon.folder.drills) {
    const auto runs = daemon.store.runs(50, name);
    const auto last = std::find_if(runs.begin(), runs.end(), counts);
    for (auto& service : drill.touched.services) {
      auto& score = out[service];
      if (runs.empty())
        ++score.never;
      else if (last == runs.end() || now - last->started_at > result_lasts)
        ++score.uncounted;
      else
        ++(last->verdict == "pass" ? score.passed : score.failed);
    }
  }
  return out;
}

json::object tell_scorecard(Daemon& daemon) {
  json::object services, squads;
  std::map<std::string, Score> by_squad;
  for (auto& [service, score] : scores(daemon)) {
    services[service] = tell_score(score);
    const auto known = daemon.folder.landscape.services.find(service);
    if (known == daemon.folder.landscape.services.end() || known->second.squad.empty()) continue;
    auto& sum = by_squad[known->second.squad];
    sum.passed += score.passed, sum.failed += score.failed;
    sum.uncounted += score.uncounted, sum.never += score.never;
  }
  for (auto& [squad, score] : by_squad)
    squads[squad] = tell_score(score);
  return {{"services", std::move(services)}, {"squads", std::move(squads)}};
}

json::array tell_followups(Daemon& daemon) {
  json::array out;
  for (auto& [name, drill] : daemon.folder.drills) {
    const auto runs = daemon.store.runs(200, name);
    std::string since, last;
    for (auto& run : runs) {
      if (!counts(run)) continue;
      if (run.verdict == "pass") break;
      if (last.empty()) last = run.id;
      since = moment(run.started_at);
    }
    if (last.empty()) continue;
    const auto& run = *std::find_if(runs.begin(), runs.end(), [&](auto& one) { return one.id == last; });
    out.push_back(json::object{{"drill", name},
                               {"owner", drill.squad},
                               {"open_since", since},
                               {"run", last},
                               {"finding", run.detail}});
  }
  return out;
}

json::array tell_gamedays(Daemon& daemon) {
  json::array out;
  for (auto& [name, day] : daemon.folder.gamedays)
    out.push_back(json::object{{"gameday", name},
                               {"title", day.title},
                               {"date", day.date},
                               {"facilitator", day.facilitator},
                               {"lead", day.lead},
                               {"scribe", day.scribe},
                               {"drills", list(day.drills)}});
  return out;
}

json::array tell_audit(Daemon& daemon) {
  json::array out;
  for (auto& one : daemon.store.audits(500))
    out.push_back(json::object{{"id", one.id},
                               {"at", moment(one.at)},
                               {"who", one.who},
                               {"what", one.what},
                               {"object", one.object},
                               {"detail", one.detail},
                               {"remote", one.remote}});
  return out;
}

std::string metrics(Daemon& daemon) {
  std::string out;
  auto add = [&](const char* name, const char* kind, const char* help, auto value) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, kind, value);
  };
  add("squall_drills_running", "gauge", "drills that run now", daemon.runner.running().size());
  add("squall_drills_known", "gauge", "drills of the folder", daemon.folder.drills.size());
  add("squall_files_broken", "gauge", "files of the folder that are wrong", daemon.folder.broken.size());
  add("squall_watchers", "gauge", "who watches events", daemon.events.watchers());
  add("squall_events_total", "counter", "events told since the daemon began", daemon.events.told());
  add("squall_requests_total", "counter", "requests answered since the daemon began", daemon.requests);
  out += "# HELP squall_runs_total runs by verdict\n# TYPE squall_runs_total counter\n";
  daemon.store.database().each(
      "SELECT verdict, count(*) FROM runs WHERE state='ended' GROUP BY verdict", {}, [&](const Row& row) {
        out += fmt::format("squall_runs_total{{verdict=\"{}\"}} {}\n", row.text(0), row.number(1));
      });
  return out;
}

}  // namespace squall::serve
