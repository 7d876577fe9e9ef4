// When a cron expression is due, in a time zone of the tz database.
//
// Each local time that the expression names is due once: a time that comes twice, since clocks go back, at
// the first of the two; a time that does not exist, since they go forward, at the moment they do. Several
// that fall on one moment are one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "scenarios/text/units.hpp"

namespace squall::serve {

// Five fields as crontab(5) has them: minute, hour, day of month, month, day of week; lists, ranges, steps,
// names; @hourly, @daily, @weekly, @monthly. Where both days are restricted, either suffices.
struct Cron {
  std::array<bool, 60> minutes{};
  std::array<bool, 24> hours{};
  std::array<bool, 32> days{};
  std::array<bool, 13> months{};
  std::array<bool, 7> weekdays{};  // 0: Sunday
  bool every_day = false, every_weekday = false;

  bool on(unsigned month, unsigned day, unsigned weekday) const;
};
Parsed<Cron> parse_cron(std::string_view);

// A time zone by its name ("Europe/Vienna", "UTC"), as this system's tz database knows it.
std::string zone_problem(const std::string& name);

// The first moment after `after` at which it is due, seconds since 1970 UTC; none within eight years.
std::optional<std::int64_t> next_due(const Cron&, const std::string& zone, std::int64_t after);

struct LocalTime {
  std::string text;  // "2026-10-25 02:30 CEST"
  int minute_of_day = 0;
  unsigned weekday = 0;  // 0: Sunday
  std::string date;      // "2026-10-25"
};
LocalTime local_time(const std::string& zone, std::int64_t at);

}  // namespace squall::serve
