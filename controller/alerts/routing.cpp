#include "controller/alerts/routing.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>
#include <regex>

#include <fmt/format.h>

namespace squall {
namespace {

using Labels = std::map<std::string, std::string>;

// A matcher, or a pattern in it, that we cannot read: then nothing is said of any route.
struct NotUnderstood {};

std::string text_of(const Value* value, const std::string& otherwise = "") {
  return value && value->kind == Value::Kind::scalar ? value->text : otherwise;
}

std::vector<const Value*> list_of(const Value* value) {
  std::vector<const Value*> out;
  if (!value) return out;
  if (value->kind == Value::Kind::scalar) out.push_back(value);
  for (auto& item : value->items)
    out.push_back(&item);
  return out;
}

bool matches_pattern(const std::string& value, const std::string& pattern) {
  try {
    return std::regex_match(value, std::regex(pattern, std::regex::ECMAScript));
  } catch (const std::regex_error&) {
    throw NotUnderstood{};
  }
}

std::string unquoted(std::string text) {
  const auto begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  text = begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return text;
  std::string out;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

bool matcher_holds(const std::string& matcher, const Labels& labels) {
  const auto at = matcher.find_first_of("=!");
  if (at == std::string::npos || at + 1 >= matcher.size()) throw NotUnderstood{};
  const bool two = matcher[at + 1] == '~' || matcher[at] == '!';
  const auto op = matcher.substr(at, two ? 2 : 1);
  auto found = labels.find(unquoted(matcher.substr(0, at)));
  const auto value = found == labels.end() ? std::string() : found->second;
  const auto wanted = unquoted(matcher.substr(at + op.size()));
  if (op == "=") return value == wanted;
  if (op == "!=") return value != wanted;
  if (op == "=~") return matches_pattern(value, wanted);
  if (op == "!~") return !matches_pattern(value, wanted);
  throw NotUnderstood{};
}

bool takes(const Value& route, const Labels& labels) {
  auto value = [&](const std::string& name) {
    auto found = labels.find(name);
    return found == labels.end() ? std::string() : found->second;
  };
  for (auto* matcher : list_of(route.find("matchers")))
    if (!matcher_holds(matcher->text, labels)) return false;
  if (auto* exact = route.find("match"))
    for (auto& member : exact->members)
      if (value(member.key) != member.value.text) return false;
  if (auto* patterns = route.find("match_re"))
    for (auto& member : patterns->members)
      if (!matches_pattern(value(member.key), member.value.text)) return false;
  return true;
}

// What a route inherits from the one above.
struct Settings {
  std::string receiver, group_wait = "30s", group_interval = "5m";
  std::vector<std::string> group_by;
};

class Walk {
 public:
  Walk(const Value& root, const Labels& labels, std::int64_t wall_ns)
      : root_(root), labels_(labels), now_(wall_ns) {}

  std::vector<Routing::Match> run() {
    if (auto* top = root_.find("route")) visit(*top, {}, "0");
    return std::move(out_);
  }

 private:
  // Depth first; the first child that takes it ends the search unless it says "continue". A route none of
  // whose children take it takes it itself.
  bool visit(const Value& route, Settings settings, const std::string& path) {
    if (!takes(route, labels_)) return false;
    settings.receiver = text_of(route.find("receiver"), settings.receiver);
    settings.group_wait = text_of(route.find("group_wait"), settings.group_wait);
    settings.group_interval = text_of(route.find("group_interval"), settings.group_interval);
    if (auto* by = route.find("group_by"); by && !list_of(by).empty()) {
      settings.group_by.clear();
      for (auto* label : list_of(by))
        settings.group_by.push_back(label->text);
    }
    bool taken = false;
    std::size_t number = 0;
    for (auto* child : list_of(route.find("routes"))) {
      const bool takes_it = visit(*child, settings, fmt::format("{}/{}", path, number++));
      taken = taken || takes_it;
      if (takes_it && text_of(child->find("continue")) != "true") break;
    }
    if (!taken) add(route, settings, path);
    return true;
  }

  void add(const Value& route, const Settings& settings, const std::string& path) {
    AlertRoute out;
    out.wait_ns = prometheus_duration_ns(settings.group_wait);
    out.interval_ns = prometheus_duration_ns(settings.group_interval);
    out.group = path;
    for (auto& [name, value] : labels_) {
      const bool all = !settings.group_by.empty() && settings.group_by[0] == "...";
      if (all ||
          std::find(settings.group_by.begin(), settings.group_by.end(), name) != settings.group_by.end())
        out.group += fmt::format(" {}=\"{}\"", name, value);
    }
    for (auto* name : list_of(route.find("mute_time_intervals")))
      if (holds(name->text)) out.muted_by.push_back(name->text);
    const auto active = list_of(route.find("active_time_intervals"));
    if (!active.empty() &&
        std::none_of(active.begin(), active.end(), [&](auto* name) { return holds(name->text); }))
      out.muted_by.push_back("outside of " + active.front()->text);
    out.max_alerts = most(settings.receiver);
    out_.push_back({settings.receiver, std::move(out)});
  }

  bool holds(const std::string& name) const {
    for (const char* key : {"time_intervals", "mute_time_intervals"})
      for (auto* named : list_of(root_.find(key))) {
        if (text_of(named->find("name")) != name) continue;
        const auto intervals = list_of(named->find("time_intervals"));
        return std::any_of(intervals.begin(), intervals.end(),
                           [&](auto* interval) { return interval_holds(*interval, now_); });
      }
    return false;
  }

  std::int64_t most(const std::string& receiver) const {
    std::int64_t out = 0;
    for (auto* one : list_of(root_.find("receivers"))) {
      if (text_of(one->find("name")) != receiver) continue;
      for (auto* hook : list_of(one->find("webhook_configs")))
        if (const auto limit = std::strtoll(text_of(hook->find("max_alerts"), "0").c_str(), nullptr, 10);
            limit > 0)
          out = out ? std::min<std::int64_t>(out, limit) : limit;
    }
    return out;
  }

  const Value& root_;
  const Labels& labels_;
  std::int64_t now_;
  std::vector<Routing::Match> out_;
};

// "monday:friday", "3", "1:5", by number or name; a negative day of the month is not looked into.
std::optional<long> number_of(const std::string& text) {
  static constexpr std::array days{"sunday",   "monday", "tuesday", "wednesday",
                                   "thursday", "friday", "saturday"};
  static constexpr std::array months{"",     "january", "february",  "march",   "april",    "may",     "june",
                                     "july", "august",  "september", "october", "november", "december"};
  for (std::size_t i = 0; i < days.size(); ++i)
    if (text == days[i]) return static_cast<long>(i);
  for (std::size_t i = 1; i < months.size(); ++i)
    if (text == months[i]) return static_cast<long>(i);
  char* end = nullptr;
  const auto out = std::strtol(text.c_str(), &end, 10);
  return text.empty() || *end || out < 0 ? std::nullopt : std::optional{out};
}

bool in_ranges(const Value* ranges, long value) {
  const auto all = list_of(ranges);
  if (all.empty()) return true;
  return std::any_of(all.begin(), all.end(), [&](auto* range) {
    const auto colon = range->text.find(':');
    const auto from = number_of(range->text.substr(0, colon));
    const auto to = colon == std::string::npos ? from : number_of(range->text.substr(colon + 1));
    return !from || !to || (*from <= value && value <= *to);
  });
}

std::optional<long> minutes_of(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  return std::strtol(text.c_str(), nullptr, 10) * 60 + std::strtol(text.c_str() + colon + 1, nullptr, 10);
}

}  // namespace

bool interval_holds(const Value& interval, std::int64_t wall_ns) {
  if (const auto location = text_of(interval.find("location"), "UTC"); location != "UTC" && !location.empty())
    return true;
  const time_t seconds = wall_ns / 1'000'000'000;
  tm now{};
  ::gmtime_r(&seconds, &now);
  if (!in_ranges(interval.find("weekdays"), now.tm_wday) ||
      !in_ranges(interval.find("months"), now.tm_mon + 1) ||
      !in_ranges(interval.find("days_of_month"), now.tm_mday) ||
      !in_ranges(interval.find("years"), now.tm_year + 1900))
    return false;
  const auto times = list_of(interval.find("times"));
  const long minute = now.tm_hour * 60 + now.tm_min;
  return times.empty() || std::any_of(times.begin(), times.end(), [&](auto* span) {
           const auto from = minutes_of(text_of(span->find("start_time"))),
                      to = minutes_of(text_of(span->find("end_time")));
           return !from || !to || (*from <= minute && minute < *to);
         });
}

std::int64_t prometheus_duration_ns(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::int64_t>, 7> units{
      {{"ms", 1'000'000},
       {"s", 1'000'000'000},
       {"m", 60'000'000'000},
       {"h", 3'600'000'000'000},
       {"d", 86'400'000'000'000},
       {"w", 604'800'000'000'000},
       {"y", 31'536'000'000'000'000}}};
  std::int64_t out = 0;
  while (!text.empty()) {
    std::int64_t count = 0;
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9')
      count = count * 10 + (text[digits++] - '0');
    text.remove_prefix(digits);
    auto unit = std::find_if(units.begin(), units.end(), [&](auto& u) { return text.starts_with(u.first); });
    if (!digits || unit == units.end()) return 0;
    out += count * unit->second;
    text.remove_prefix(unit->first.size());
  }
  return out;
}

tl::expected<Routing, std::string> Routing::read(std::string_view yaml) {
  Diagnostics wrong{"alertmanager.yml", std::string(yaml)};
  Routing out;
  out.root_ = parse_document(yaml, wrong);
  if (out.root_.kind != Value::Kind::map || !out.root_.find("route"))
    return tl::unexpected(std::string("its configuration has no route"));
  return out;
}

std::vector<Routing::Match> Routing::match(const Labels& labels, std::int64_t wall_ns) const {
  try {
    return Walk{root_, labels, wall_ns}.run();
  } catch (const NotUnderstood&) {
    return {};
  }
}

}  // namespace squall
