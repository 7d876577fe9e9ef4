#include "controller/serve/when/schedules.hpp"

#include <algorithm>

#include <date/date.h>

#include "scenarios/text/text.hpp"

namespace squall {
namespace serve {
namespace {

constexpr Duration day{86'400'000'000'000};
const std::vector<std::string> weekdays{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

// "09:30" in minutes since midnight; "24:00" is the day's end.
std::optional<int> clock_time(const std::string& text) {
  auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9' ? text[at] - '0' : 100; };
  if (text.size() != 5 || text[2] != ':') return {};
  const int hour = digit(0) * 10 + digit(1), minute = digit(3) * 10 + digit(4);
  if (minute > 59 || hour > 24 || (hour == 24 && minute)) return {};
  return hour * 60 + minute;
}

bool is_date(const std::string& text) {
  date::year_month_day out;
  std::istringstream in{text};
  in >> date::parse("%F", out);
  return !in.fail() && out.ok() && text.size() == 10;
}

void refuse(const Value& in, std::string_view key, const std::string& problem, Diagnostics& wrong) {
  const auto* at = in.find(key);
  if (!problem.empty()) wrong.error(at ? at->place : in.place, problem);
}

void check_window(const TimeWindow& window, const Value& in, Diagnostics& wrong) {
  for (auto* key : {"from", "to"}) {
    const auto& text = *key == 'f' ? window.from : window.to;
    if (!clock_time(text))
      refuse(in, key, fmt::format("expected a time of the day such as 09:30, got {}", quote(text)), wrong);
  }
  if (clock_time(window.from) >= clock_time(window.to))
    refuse(in, "to", "expected a time after `from`; a window over midnight is two", wrong);
  for (auto& one : window.days)
    if (std::find(weekdays.begin(), weekdays.end(), one) == weekdays.end())
      refuse(in, "days", fmt::format("expected mon, tue, wed, thu, fri, sat or sun, got {}", quote(one)),
             wrong);
}

void check_freeze(const FreezeSpec& freeze, const Value& in, Diagnostics& wrong) {
  for (auto* key : {"from", "to"}) {
    const auto& text = *key == 'f' ? freeze.from : freeze.to;
    if (!is_date(text))
      refuse(in, key, fmt::format("expected a date such as 2026-12-24, got {}", quote(text)), wrong);
  }
  if (freeze.to < freeze.from) refuse(in, "to", "expected a date that is not before `from`", wrong);
}

void check_schedule(const ScheduleSpec& one, const Value& in, Diagnostics& wrong) {
  if (const auto read = parse_cron(one.cron); !read) refuse(in, "cron", read.error(), wrong);
  if (!one.time_zone.empty()) refuse(in, "time_zone", zone_problem(one.time_zone), wrong);
}

}  // namespace

bool TimeWindow::contains(const LocalTime& at) const {
  return at.minute_of_day >= clock_time(from).value_or(0) && at.minute_of_day < clock_time(to).value_or(0) &&
         (days.empty() || std::find(days.begin(), days.end(), weekdays[at.weekday]) != days.end());
}

Schedules read_schedules(std::string_view text, Diagnostics& wrong) {
  Schedules out;
  auto document = parse_document(text, wrong);
  if (!wrong.ok()) return out;
  // One that is wrong is told, and keeps none of the others from running.
  if (auto* listed = const_cast<Value*>(document.find("schedules"));
      listed && listed->kind == Value::Kind::map)
    std::erase_if(listed->members, [&](const Member& member) {
      if (const auto bad = slug_problem(member.key); !bad.empty()) wrong.error(member.place, bad);
      const auto before = wrong.errors().size();
      return !slug_problem(member.key).empty() ||
             (Describe<ScheduleSpec>::object().check(member.value, wrong), wrong.errors().size() != before);
    });
  Diagnostics rest{wrong.name(), std::string(text)};
  if (!Describe<Schedules>::object().decode(document, out, rest)) out.schedules.clear();
  for (auto& error : rest.errors())
    wrong.error(error.place, error.message);
  for (auto& [name, one] : out.schedules) {
    if (one.time_zone.empty()) one.time_zone = out.time_zone;
    one.when = parse_cron(one.cron).value_or(Cron{});
  }
  return out;
}

std::int64_t jitter_of(const ScheduleSpec& spec, const std::string& name, std::uint64_t seed,
                       std::int64_t due) {
  const auto most = static_cast<std::uint64_t>(spec.jitter.ns / 1'000'000'000);
  if (most == 0) return 0;
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, then the finish of splitmix64
  auto take = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3u; };
  for (char c : name)
    take(static_cast<unsigned char>(c));
  for (int shift = 0; shift < 64; shift += 8) {
    take(static_cast<unsigned char>(seed >> shift));
    take(static_cast<unsigned char>(static_cast<std::uint64_t>(due) >> shift));
  }
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::int64_t>((hash ^ (hash >> 31)) % most);
}

std::string not_now(const Schedules& all, const ScheduleSpec& spec, std::int64_t at) {
  const auto local = local_time(spec.time_zone, at);
  for (auto& freeze : all.freezes)
    if (local.date >= freeze.from && local.date <= freeze.to)
      return fmt::format("frozen from {} to {}{}{}", freeze.from, freeze.to, freeze.why.empty() ? "" : ": ",
                         freeze.why);
  const bool within = std::any_of(spec.windows.begin(), spec.windows.end(),
                                  [&](auto& window) { return window.contains(local); });
  if (spec.windows.empty() || within) return "";
  return fmt::format("{} is outside of its windows", local.text);
}

}  // namespace serve

using namespace serve;

const Object<TimeWindow>& Describe<TimeWindow>::object() {
  static const auto object =
      Object<TimeWindow>("local times within which a drill may begin")
          .optional("days", &TimeWindow::days, "mon, tue, wed, thu, fri, sat, sun", "every day")
          .optional("from", &TimeWindow::from, "time of the day", "00:00")
          .optional("to", &TimeWindow::to, "time of the day, not included", "24:00")
          .rule(check_window);
  return object;
}

const Object<FreezeSpec>& Describe<FreezeSpec>::object() {
  static const auto object = Object<FreezeSpec>("local dates on which no schedule begins a drill")
                                 .required("from", &FreezeSpec::from, "the first date")
                                 .required("to", &FreezeSpec::to, "the last date")
                                 .optional("why", &FreezeSpec::why, "for those who wonder")
                                 .rule(check_freeze);
  return object;
}

const Object<ScheduleSpec>& Describe<ScheduleSpec>::object() {
  static const auto object =
      Object<ScheduleSpec>("a drill that comes by itself")
          .required("drill", &ScheduleSpec::drill, "the scenario's name")
          .required("cron", &ScheduleSpec::cron, "minute, hour, day of the month, month, day of the week")
          .optional("time_zone", &ScheduleSpec::time_zone, "such as Europe/Vienna", "the file's")
          .optional("windows", &ScheduleSpec::windows, "within which it may begin", "any time")
          .optional("jitter", &ScheduleSpec::jitter, "it comes later by a random part of this", "0s")
          .between(&ScheduleSpec::jitter, Duration{}, day)
          .optional("missed", &ScheduleSpec::missed, "what becomes of one that was missed", "skip")
          .optional("deadline", &ScheduleSpec::deadline, "for `missed: run_once`: at most so late", "1h")
          .between(&ScheduleSpec::deadline, Duration{}, Duration{7 * day.ns})
          .rule(check_schedule);
  return object;
}

const Object<Schedules>& Describe<Schedules>::object() {
  static const auto object =
      Object<Schedules>("drills that come by themselves")
          .optional("time_zone", &Schedules::time_zone, "of cron expressions, windows and dates", "UTC")
          .optional("seed", &Schedules::seed, "of jitter", "a random one, which the store keeps")
          .optional("freezes", &Schedules::freezes, "dates on which nothing is begun")
          .optional("ignore_alerts", &Schedules::ignore_alerts,
                    "alerts that may be firing when a drill begins")
          .optional("schedules", &Schedules::schedules, "by name")
          .rule([](const Schedules& all, const Value& in, Diagnostics& wrong) {
            refuse(in, "time_zone", zone_problem(all.time_zone), wrong);
          });
  return object;
}

}  // namespace squall
