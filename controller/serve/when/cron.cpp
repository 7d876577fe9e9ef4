#include "controller/serve/when/cron.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <vector>

#include <date/tz.h>
#include <fmt/format.h>

#include "scenarios/text/diagnostics.hpp"

namespace squall::serve {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

struct Field {
  std::string_view what;
  int least, most;
  std::string_view names;  // three letters each, from `least` on
};
constexpr Field minute_field{"minute", 0, 59, ""}, hour_field{"hour", 0, 23, ""},
    day_field{"day of the month", 1, 31, ""},
    month_field{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    weekday_field{"day of the week", 0, 7, "sunmontuewedthufrisat"};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (true) {
    const auto end = text.find(at);
    out.push_back(text.substr(0, end));
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> number(std::string_view text) {
  int out = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || read.ec != std::errc{} || read.ptr != text.data() + text.size() || out < 0) return {};
  return out;
}

std::optional<int> one(std::string_view text, const Field& field) {
  std::string name;
  for (char c : text)
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name.size() == 3)
    for (std::size_t at = 0; at < field.names.size(); at += 3)
      if (field.names.substr(at, 3) == name) return field.least + static_cast<int>(at / 3);
  const auto out = number(text);
  return out && *out >= field.least && *out <= field.most ? out : std::nullopt;
}

// "5", "mon-fri", "*/15", "10-40/10".
bool read_part(std::string_view part, const Field& field, const auto& set) {
  const auto slash = part.find('/');
  int step = 1;
  if (slash != part.npos) {
    const auto given = number(part.substr(slash + 1));
    if (!given || *given == 0) return false;
    step = *given;
  }
  const auto span = part.substr(0, slash);
  const auto dash = span.find('-');
  std::optional<int> from = field.least, to = field.most;
  if (span != "*") {
    from = one(span.substr(0, dash), field);
    if (dash != span.npos)
      to = one(span.substr(dash + 1), field);
    else if (slash == part.npos)
      to = from;
  }
  if (!from || !to || *from > *to) return false;
  for (int value = *from; value <= *to; value += step)
    set(value);
  return true;
}

std::string read_field(std::string_view text, const Field& field, const auto& set) {
  for (auto part : split(text, ','))
    if (!read_part(part, field, set))
      return fmt::format("expected for the {} {} to {}{}, with \",\", \"-\", \"/\" or *; got {}", field.what,
                         field.least, field.most, field.names.empty() ? "" : " or a name such as mon or jan",
                         quote(part));
  return "";
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (auto word : split(text, ' '))
    if (!word.empty()) out.emplace_back(word);
  return out;
}

std::string_view in_full(std::string_view text) {
  if (text == "@hourly") return "0 * * * *";
  if (text == "@daily" || text == "@midnight") return "0 0 * * *";
  if (text == "@weekly") return "0 0 * * 0";
  if (text == "@monthly") return "0 0 1 * *";
  return text;
}

}  // namespace

bool Cron::on(unsigned month, unsigned day, unsigned weekday) const {
  if (!months[month]) return false;
  if (every_day || every_weekday) return days[day] && weekdays[weekday];
  return days[day] || weekdays[weekday];
}

Parsed<Cron> parse_cron(std::string_view text) {
  Cron out;
  const auto fields = words(in_full(text));
  if (fields.size() != 5)
    return tl::unexpected(
        fmt::format("expected five fields (minute, hour, day of the month, month, day of the week) such as "
                    "\"30 10 * * tue\", got {}",
                    quote(text)));
  auto into = [](auto& flags) {
    return [&flags](int value) { flags[static_cast<std::size_t>(value) % flags.size()] = true; };
  };
  for (auto& problem :
       {read_field(fields[0], minute_field, into(out.minutes)),
        read_field(fields[1], hour_field, into(out.hours)), read_field(fields[2], day_field, into(out.days)),
        read_field(fields[3], month_field, into(out.months)),
        read_field(fields[4], weekday_field, into(out.weekdays))})
    if (!problem.empty()) return tl::unexpected(problem);
  out.every_day = fields[2].starts_with('*');
  out.every_weekday = fields[4].starts_with('*');
  return out;
}

std::string zone_problem(const std::string& name) {
  try {
    date::locate_zone(name);
    return "";
  } catch (const std::exception&) {
    return fmt::format("expected a time zone such as Europe/Vienna or UTC, got {}", quote(name));
  }
}

namespace {

// When clocks there show it: the first of two, the moment of the change where there is none.
std::int64_t moment(const date::time_zone& zone, date::local_seconds local) {
  const auto info = zone.get_info(local);
  if (info.result == date::local_info::nonexistent) return info.first.end.time_since_epoch().count();
  return (local.time_since_epoch() - info.first.offset).count();
}

}  // namespace

std::optional<std::int64_t> next_due(const Cron& cron, const std::string& name, std::int64_t after) {
  const auto& zone = *date::locate_zone(name);
  const auto from = zone.to_local(date::sys_seconds{seconds{after}});
  const auto today = date::floor<date::days>(from);
  int minute = static_cast<int>((from - today) / minutes{1});
  for (int ahead = 0; ahead < 8 * 366; ++ahead, minute = 0) {
    const auto day = today + date::days{ahead};
    const date::year_month_day date{day};
    if (!cron.on(unsigned{date.month()}, unsigned{date.day()}, date::weekday{day}.c_encoding())) continue;
    for (; minute < 24 * 60; ++minute) {
      if (!cron.hours[static_cast<std::size_t>(minute / 60)]) {
        minute += 59 - minute % 60;
        continue;
      }
      if (!cron.minutes[static_cast<std::size_t>(minute % 60)]) continue;
      if (const auto due = moment(zone, day + minutes{minute}); due > after) return due;
    }
  }
  return {};
}

LocalTime local_time(const std::string& name, std::int64_t at) {
  const auto zoned = date::zoned_time<seconds>{date::locate_zone(name), date::sys_seconds{seconds{at}}};
  const auto local = zoned.get_local_time();
  const auto day = date::floor<date::days>(local);
  return {date::format("%F %H:%M %Z", zoned), static_cast<int>((local - day) / minutes{1}),
          date::weekday{day}.c_encoding(), date::format("%F", day)};
}

}  // namespace squall::serve
