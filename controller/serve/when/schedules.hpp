// schedules.yaml: which drill comes by itself, and when it must not.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/serve/when/cron.hpp"
#include "scenarios/schema/schema.hpp"

namespace squall::serve {

// Local times within which a drill may begin.
struct TimeWindow {
  std::vector<std::string> days;  // mon … sun; none: every day
  std::string from = "00:00", to = "24:00";
  bool contains(const LocalTime&) const;
};

// Local dates, both included, on which nothing is begun.
struct FreezeSpec {
  std::string from, to, why;
};

struct ScheduleSpec {
  enum class Missed { skip, run_once } missed = Missed::skip;
  std::string drill;  // the scenario's name
  std::string cron;
  std::string time_zone;  // "": the file's
  std::vector<TimeWindow> windows;
  Duration jitter;
  Duration deadline{3'600'000'000'000};
  Cron when;  // `cron`, read
};

struct Schedules {
  std::string time_zone = "UTC";
  std::optional<std::uint64_t> seed;
  std::vector<FreezeSpec> freezes;
  std::vector<std::string> ignore_alerts;
  std::map<std::string, ScheduleSpec> schedules;
};

// Reads the file; errors carry their places. A schedule that is wrong is left out, the others stay.
Schedules read_schedules(std::string_view text, Diagnostics&);

// By how much an occurrence comes later: from 0 to less than its jitter, the same for the same seed.
std::int64_t jitter_of(const ScheduleSpec&, const std::string& name, std::uint64_t seed, std::int64_t due);

// Why it must not begin at this moment by the file itself; "" where it may.
std::string not_now(const Schedules&, const ScheduleSpec&, std::int64_t at);

}  // namespace squall::serve

namespace squall {
template <>
struct EnumNames<serve::ScheduleSpec::Missed> {
  static constexpr std::array<std::pair<std::string_view, serve::ScheduleSpec::Missed>, 2> names{
      {{"skip", serve::ScheduleSpec::Missed::skip}, {"run_once", serve::ScheduleSpec::Missed::run_once}}};
};
template <>
struct Describe<serve::TimeWindow> {
  static const Object<serve::TimeWindow>& object();
};
template <>
struct Describe<serve::FreezeSpec> {
  static const Object<serve::FreezeSpec>& object();
};
template <>
struct Describe<serve::ScheduleSpec> {
  static const Object<serve::ScheduleSpec>& object();
};
template <>
struct Describe<serve::Schedules> {
  static const Object<serve::Schedules>& object();
};
}  // namespace squall
