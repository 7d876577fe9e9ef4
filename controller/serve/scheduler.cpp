#include "controller/serve/scheduler.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/serve/firing.hpp"
#include "controller/serve/rights/secret.hpp"

namespace squall::serve {
namespace {

// Later than this, an occurrence was missed: the daemon was not there, or the host slept.
constexpr std::int64_t punctual = 60;
constexpr std::size_t most_told = 100;  // of missed occurrences; those before are told as one
// A steady timer does not hear of a wall clock that was set, nor of a host that slept.
constexpr std::int64_t longest_sleep = 60;

std::string definition_of(const ScheduleSpec& one) {
  return fmt::format("{}|{}|{}", one.drill, one.cron, one.time_zone);
}

std::string random_seed() {
  std::uint64_t out = 0;
  const auto text = new_token().substr(0, 15);
  std::from_chars(text.data(), text.data() + text.size(), out, 16);
  return std::to_string(out);
}

}  // namespace

Scheduler::Scheduler(boost::asio::io_context& io, Store& store, Runner& runner, Events& events,
                     const Folder& folder)
    : store_(store), runner_(runner), events_(events), folder_(folder), client_(io), timer_(io) {}

Scheduler::~Scheduler() {
  *alive_ = false;
}

void Scheduler::begin() {
  for (auto& left : store_.claimed())
    store_.skip(left.schedule, left.due, "the daemon ended before it could begin", std::time(nullptr));
  look_again();
}

std::uint64_t Scheduler::seed() const {
  if (folder_.schedules.seed) return *folder_.schedules.seed;
  return std::stoull(store_.setting("seed", random_seed()));
}

void Scheduler::look_again() {
  const std::int64_t now = std::time(nullptr);
  for (auto& due : due_by(now))
    decide(due, now);
  sleep();
}

std::vector<Scheduler::Due> Scheduler::due_by(std::int64_t now) {
  std::vector<Due> out;
  for (auto& [name, spec] : folder_.schedules.schedules) {
    auto cursor = store_.cursor(name, definition_of(spec), now);
    std::vector<Due> mine;
    std::int64_t before = 0, first = 0;
    while (const auto due = next_due(spec.when, spec.time_zone, cursor)) {
      const auto starts_at = *due + jitter_of(spec, name, seed(), *due);
      if (starts_at > now) break;
      mine.push_back({name, *due, starts_at, false});
      cursor = *due;
      if (mine.size() <= most_told) continue;
      if (before++ == 0) first = mine.front().due;
      mine.erase(mine.begin());
    }
    if (before > 0)
      skip({name, first, first, false}, fmt::format("missed, and {} more after it", before - 1));
    if (!mine.empty()) mine.back().last = true;
    out.insert(out.end(), mine.begin(), mine.end());
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.starts_at < b.starts_at; });
  return out;
}

void Scheduler::decide(const Due& due, std::int64_t now) {
  const bool first = store_.claim(due.schedule, due.due, due.starts_at, now);
  store_.move_cursor(due.schedule, due.due);
  if (!first) return;
  if (const auto why = refusal(due, now); !why.empty()) return skip(due, why);
  ask_alerts(due);
}

std::string Scheduler::refusal(const Due& due, std::int64_t now) {
  const auto& spec = folder_.schedules.schedules.at(due.schedule);
  const auto late = now - due.starts_at;
  const bool again =
      spec.missed == ScheduleSpec::Missed::run_once && due.last && late <= spec.deadline.ns / 1'000'000'000;
  if (late > punctual && !again)
    return fmt::format("missed: the daemon was not there to begin it, {} s late", late);
  if (const auto by = store_.paused_by(due.schedule); !by.empty()) return fmt::format("paused by {}", by);
  if (const auto freeze = store_.frozen(now))
    return fmt::format("all drills are frozen by {}: {}", freeze->by, freeze->why);
  if (const auto why = not_now(folder_.schedules, spec, now); !why.empty()) return why;
  const auto drill = folder_.drills.find(spec.drill);
  if (drill == folder_.drills.end()) return fmt::format("there is no drill {}, or it is wrong", spec.drill);
  if (!drill->second.refused.empty()) return drill->second.refused;
  const auto& touched = drill->second.touched;
  if (!touched.beyond.empty() && !folder_.landscape.squads.empty())
    return fmt::format("{}: a schedule may drill only what squads own", touched.beyond);
  for (auto& squad : touched.squads) {
    if (squad == drill->second.squad) continue;
    const auto approved = store_.approvals(spec.drill, now);
    if (std::none_of(approved.begin(), approved.end(),
                     [&](auto& one) { return one.squad == squad && one.hash == drill->second.hash; }))
      return fmt::format("the squad {} has not approved it as it is now", squad);
  }
  return runner_.in_the_way(folder_.landscape, touched);
}

void Scheduler::skip(const Due& due, const std::string& reason) {
  store_.skip(due.schedule, due.due, reason, std::time(nullptr));
  events_.tell("occurrence.skipped", {{"schedule", due.schedule}, {"due", due.due}, {"reason", reason}});
}

void Scheduler::ask_alerts(const Due& due) {
  ask_firing(client_, folder_.landscape.alert_sources, [this, due, alive = alive_](const Firing& found) {
    if (*alive) answered(due, found.alerts, found.problem);
  });
}

void Scheduler::answered(const Due& due, const std::set<std::string>& firing, const std::string& problem) {
  try {
    const auto spec = folder_.schedules.schedules.find(due.schedule);
    if (spec == folder_.schedules.schedules.end()) return skip(due, "the schedule is gone");
    for (auto& alert : firing) {
      const auto& ignored = folder_.schedules.ignore_alerts;
      if (std::find(ignored.begin(), ignored.end(), alert) == ignored.end())
        return skip(due, fmt::format("the alert {} is firing", alert));
    }
    if (!problem.empty()) return skip(due, problem);
    // Much may have changed while the sources were asked.
    if (const auto why = refusal(due, std::time(nullptr)); !why.empty()) return skip(due, why);
    runner_.start(folder_.drills.at(spec->second.drill), folder_.landscape_text,
                  {"schedule " + due.schedule, due.schedule, due.due});
  } catch (const std::exception& e) {
    skip(due, e.what());
  }
}

std::vector<NextOccurrence> Scheduler::next(const std::string& schedule, std::size_t count) const {
  std::vector<NextOccurrence> out;
  const auto found = folder_.schedules.schedules.find(schedule);
  if (found == folder_.schedules.schedules.end()) return out;
  const auto& spec = found->second;
  const std::int64_t now = std::time(nullptr);
  auto after = store_.cursor(schedule, definition_of(spec), now);
  while (out.size() < count) {
    const auto due = next_due(spec.when, spec.time_zone, after);
    if (!due) break;
    after = *due;
    const auto starts_at = *due + jitter_of(spec, schedule, seed(), *due);
    if (starts_at >= now)
      out.push_back({*due, starts_at, local_time(spec.time_zone, starts_at).text,
                     not_now(folder_.schedules, spec, starts_at)});
  }
  return out;
}

void Scheduler::sleep() {
  const std::int64_t now = std::time(nullptr);
  auto wake = now + longest_sleep;
  for (auto& [name, spec] : folder_.schedules.schedules)
    if (const auto soon = next(name, 1); !soon.empty()) wake = std::min(wake, soon.front().starts_at);
  timer_.expires_after(std::chrono::seconds{std::max<std::int64_t>(1, wake - now)});
  timer_.async_wait([this, alive = alive_](auto error) {
    if (!error && *alive) look_again();
  });
}

}  // namespace squall::serve
