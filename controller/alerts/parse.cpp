#include "controller/alerts/parse.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>
#include <boost/json.hpp>

namespace squall {
namespace {

namespace json = boost::json;

// Thrown inside this file where a document is not what it should be.
struct Nonsense {
  std::string text;
};

const json::value& member(const json::value& in, const char* key) {
  auto* object = in.if_object();
  auto* found = object ? object->if_contains(key) : nullptr;
  if (!found) throw Nonsense{fmt::format("the answer has no \"{}\"", key)};
  return *found;
}

const json::array& list(const json::value& in, const char* key) {
  auto* array = member(in, key).if_array();
  if (!array) throw Nonsense{fmt::format("\"{}\" is no list", key)};
  return *array;
}

std::string text(const json::value& in, const char* key) {
  auto* string = member(in, key).if_string();
  if (!string) throw Nonsense{fmt::format("\"{}\" is no text", key)};
  return std::string(*string);
}

double number(const json::value& value) {
  json::error_code error;
  const auto out = value.is_number() ? value.to_number<double>(error) : NAN;
  if (error || !std::isfinite(out)) throw Nonsense{"expected a number, got something else"};
  return out;
}

std::int64_t time_of(const json::value& in, const char* key) {
  auto parsed = parse_rfc3339(text(in, key));
  if (!parsed) throw Nonsense{fmt::format("\"{}\" is no time", key)};
  return *parsed;
}

Labels labels_of(const json::value& in) {
  Labels out;
  auto* object = in.if_object();
  if (!object) throw Nonsense{"labels are no mapping"};
  for (auto& [key, value] : *object) {
    if (!value.is_string()) throw Nonsense{"a label is no text"};
    out[std::string(key)] = std::string(value.get_string());
  }
  return out;
}

template <class T>
tl::expected<T, std::string> parse(std::string_view what, T (*read)(const json::value&)) {
  json::error_code error;
  const auto document = json::parse({what.data(), what.size()}, error);
  if (error) {
    auto shown = std::string(what.substr(0, 60));
    for (auto& c : shown)
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    return tl::unexpected(fmt::format("expected JSON, got \"{}\"", shown));
  }
  try {
    return read(document);
  } catch (const Nonsense& nonsense) {
    return tl::unexpected(nonsense.text);
  }
}

// Prometheus says {"status": "success", "data": …} or {"status": "error", "error": …}.
const json::value& data_of(const json::value& document) {
  if (text(document, "status") != "success") throw Nonsense{text(document, "error")};
  return member(document, "data");
}

std::vector<AlertSeries> read_series(const json::value& document) {
  std::vector<AlertSeries> out;
  for (auto& series : list(data_of(document), "result")) {
    AlertSeries one;
    one.labels = labels_of(member(series, "metric"));
    one.firing = one.labels["alertstate"] == "firing";
    one.labels.erase("alertstate");
    one.labels.erase("__name__");
    for (auto& sample : list(series, "values")) {
      auto* pair = sample.if_array();
      if (!pair || pair->size() != 2) throw Nonsense{"a sample is no pair of time and value"};
      one.stamps.push_back(static_cast<std::int64_t>(std::llround(number((*pair)[0]) * 1000)) * 1'000'000);
    }
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<ActiveAlert> read_active(const json::value& document) {
  std::vector<ActiveAlert> out;
  for (auto& alert : list(data_of(document), "alerts")) {
    auto* at = alert.get_object().if_contains("activeAt");
    const auto active = at && at->is_string() ? parse_rfc3339(std::string(at->get_string())) : std::nullopt;
    out.push_back({labels_of(member(alert, "labels")), active.value_or(0)});
  }
  return out;
}

std::int64_t read_time(const json::value& document) {
  auto& pair = list(data_of(document), "result");
  if (pair.size() != 2) throw Nonsense{"time() is no pair of time and value"};
  return static_cast<std::int64_t>(std::llround(number(pair[0]) * 1000)) * 1'000'000;
}

std::int64_t read_runtimeinfo(const json::value& document) {
  return time_of(data_of(document), "startTime");
}

ManagerStatus read_manager_status(const json::value& document) {
  ManagerStatus out;
  out.started_at = time_of(document, "uptime");
  out.config = text(member(document, "config"), "original");
  return out;
}

std::vector<std::string> names(const json::value& in, const char* key, const char* inside = nullptr) {
  std::vector<std::string> out;
  auto* object = in.if_object();
  auto* found = object ? object->if_contains(key) : nullptr;
  if (!found || !found->is_array()) return out;
  for (auto& item : found->get_array()) {
    if (inside && item.is_object()) out.push_back(text(item, inside));
    if (!inside && item.is_string()) out.emplace_back(item.get_string());
  }
  return out;
}

std::vector<AlertRule> read_rules(const json::value& document) {
  std::vector<AlertRule> out;
  for (auto& group : list(data_of(document), "groups"))
    for (auto& rule : list(group, "rules")) {
      if (text(rule, "type") != "alerting") continue;
      AlertRule one;
      one.alert = text(rule, "name");
      one.labels = labels_of(member(rule, "labels"));
      one.for_ns = static_cast<std::int64_t>(number(member(rule, "duration")) * 1e9);
      one.interval_ns = static_cast<std::int64_t>(number(member(group, "interval")) * 1e9);
      out.push_back(std::move(one));
    }
  return out;
}

std::vector<ManagedAlert> read_managed(const json::value& document) {
  auto* array = document.if_array();
  if (!array) throw Nonsense{"expected a list of alerts"};
  std::vector<ManagedAlert> out;
  for (auto& alert : *array) {
    ManagedAlert one;
    one.labels = labels_of(member(alert, "labels"));
    one.fingerprint = text(alert, "fingerprint");
    one.starts_at = time_of(alert, "startsAt");
    auto& status = member(alert, "status");
    one.suppressed = text(status, "state") == "suppressed";
    one.silenced_by = names(status, "silencedBy"), one.inhibited_by = names(status, "inhibitedBy"),
    one.muted_by = names(status, "mutedBy");
    one.receivers = names(alert, "receivers", "name");
    out.push_back(std::move(one));
  }
  return out;
}

Notification read_notification(const json::value& document) {
  if (text(document, "version") != "4")
    throw Nonsense{fmt::format("expected version \"4\" of Alertmanager's webhook, got \"{}\"",
                               text(document, "version"))};
  Notification out;
  out.receiver = text(document, "receiver");
  if (auto* cut = document.get_object().if_contains("truncatedAlerts"); cut && cut->is_number())
    out.truncated = static_cast<std::int64_t>(number(*cut));
  for (auto& alert : list(document, "alerts")) {
    Notification::Alert one;
    one.labels = labels_of(member(alert, "labels"));
    one.fingerprint = text(alert, "fingerprint");
    one.firing = text(alert, "status") == "firing";
    one.starts_at = time_of(alert, "startsAt");
    one.ends_at = parse_rfc3339(text(alert, "endsAt")).value_or(0);
    out.alerts.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view what) {
  const std::string input(what);
  tm parts{};
  const char* rest = ::strptime(input.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest) return {};
  std::int64_t fraction = 0;
  if (*rest == '.') {
    std::int64_t scale = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10)
      fraction += (*rest - '0') * scale;
  }
  std::int64_t offset = 0;
  if (*rest == '+' || *rest == '-') {
    int hours = 0, minutes = 0;
    if (std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2) return {};
    offset = (hours * 3600 + minutes * 60) * (*rest == '-' ? -1 : 1);
  } else if (*rest != 'Z' && *rest != 'z') {
    return {};
  }
  const auto seconds = static_cast<std::int64_t>(::timegm(&parts)) - offset;
  // Go's zero time, year 1, says that there is no such time; what nanoseconds cannot hold is none either.
  if (seconds < 0 || seconds > 9'000'000'000) return 0;
  return seconds * 1'000'000'000 + fraction;
}

tl::expected<std::vector<AlertSeries>, std::string> parse_alert_series(std::string_view what) {
  return parse(what, read_series);
}
tl::expected<std::vector<ActiveAlert>, std::string> parse_active_alerts(std::string_view what) {
  return parse(what, read_active);
}
tl::expected<std::int64_t, std::string> parse_time(std::string_view what) {
  return parse(what, read_time);
}
tl::expected<std::int64_t, std::string> parse_runtimeinfo(std::string_view what) {
  return parse(what, read_runtimeinfo);
}
tl::expected<ManagerStatus, std::string> parse_manager_status(std::string_view what) {
  return parse(what, read_manager_status);
}
tl::expected<std::vector<AlertRule>, std::string> parse_rules(std::string_view what) {
  return parse(what, read_rules);
}
tl::expected<std::vector<ManagedAlert>, std::string> parse_managed_alerts(std::string_view what) {
  return parse(what, read_managed);
}
tl::expected<Notification, std::string> parse_notification(std::string_view what) {
  return parse(what, read_notification);
}

std::optional<double> metric_sum(std::string_view exposition, std::string_view name) {
  std::optional<double> out;
  while (!exposition.empty()) {
    const auto line = exposition.substr(0, exposition.find('\n'));
    exposition.remove_prefix(std::min(exposition.size(), line.size() + 1));
    if (!line.starts_with(name) || line.size() == name.size() ||
        (line[name.size()] != ' ' && line[name.size()] != '{'))
      continue;
    const auto space = line.rfind(' ');
    out = out.value_or(0) + std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
  }
  return out;
}

}  // namespace squall
