#include "reports/record/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "scenarios/text/readable.hpp"

namespace squall::text {
namespace {

namespace json = boost::json;

tm utc(std::int64_t wall_ns) {
  const auto whole =
      static_cast<time_t>(wall_ns >= 0 ? wall_ns / 1'000'000'000 : (wall_ns - 999'999'999) / 1'000'000'000);
  tm parts{};
  gmtime_r(&whole, &parts);
  return parts;
}

// Three significant digits without an exponent, no needless zeros.
std::string short_number(double value) {
  if (!std::isfinite(value)) return "?";
  const double size = std::abs(value);
  if (size >= 1000 || value == std::floor(value)) return fmt::format("{:.0f}", value);
  auto out = size >= 100  ? fmt::format("{:.1f}", value)
             : size >= 10 ? fmt::format("{:.1f}", value)
                          : fmt::format("{:.2f}", value);
  if (size < 0.1) out = fmt::format("{:.2g}", value);
  while (out.find('.') != std::string::npos && out.find('e') == std::string::npos &&
         (out.back() == '0' || out.back() == '.')) {
    const bool point = out.back() == '.';
    out.pop_back();
    if (point) break;
  }
  return out;
}

// What was prescribed tells the system of units; without that, the binary one.
std::string size(double bytes, const double* prescribed) {
  const auto [value, unit] = readable(bytes, Size{prescribed ? std::llround(*prescribed) : 1024});
  return fmt::format("{} {}", short_number(value), unit);
}

struct Unit {
  std::string_view ending;
  std::string (*show)(double, const double* prescribed);
};

// The longest ending first.
constexpr std::array units{
    Unit{"_bytes_per_second", [](double v, const double* prescribed) { return size(v, prescribed) + "/s"; }},
    Unit{"_bytes_per_s", [](double v, const double* prescribed) { return size(v, prescribed) + "/s"; }},
    Unit{"_packets_per_s", [](double v, const double*) { return short_number(v) + " packets/s"; }},
    Unit{"_per_second", [](double v, const double*) { return short_number(v) + "/s"; }},
    Unit{"_per_s", [](double v, const double*) { return short_number(v) + "/s"; }},
    Unit{"_percent", [](double v, const double*) { return short_number(v) + "%"; }},
    Unit{"_pct", [](double v, const double*) { return short_number(v) + "%"; }},
    Unit{"_share", [](double v, const double*) { return percent(v); }},
    Unit{"_bytes", [](double v, const double* prescribed) { return size(v, prescribed); }},
    Unit{"_bps", [](double v, const double* prescribed) { return size(v, prescribed) + "/s"; }},
    Unit{"_iops", [](double v, const double*) { return short_number(v) + "/s"; }},
    Unit{"_ns", [](double v, const double*) { return milliseconds(v / 1e6); }},
    Unit{"_us", [](double v, const double*) { return milliseconds(v / 1e3); }},
    Unit{"_ms", [](double v, const double*) { return milliseconds(v); }},
    Unit{"_s", [](double v, const double*) { return seconds(v); }},
};

const Unit* unit_of(std::string_view key) {
  for (auto& unit : units)
    if (key.size() > unit.ending.size() && key.ends_with(unit.ending)) return &unit;
  return nullptr;
}

}  // namespace

std::string seconds(double s) {
  if (std::abs(s) < 0.05 && s != 0) return milliseconds(s * 1000);
  if (std::abs(s) < 120) return fmt::format("{:.1f} s", s == 0 ? 0.0 : s);
  const auto whole = std::llround(s);
  return fmt::format("{} min {} s", whole / 60, std::abs(whole % 60));
}

std::string milliseconds(double ms) {
  if (std::abs(ms) >= 1000) return fmt::format("{} s", short_number(ms / 1000));
  return fmt::format("{} ms", short_number(ms));
}

std::string percent(double share) {
  const double value = share * 100;
  if (value == std::floor(value)) return fmt::format("{:.0f}%", value);
  const int digits = share > 0.999 ? 3 : share > 0.99 || share < 0.01 ? 2 : 1;
  auto out = fmt::format("{:.{}f}", value, digits);
  // One failure in a million is not "100%", one success not "0%".
  if (std::stod(out) >= 100) out = fmt::format("{:.{}f}", 100 - std::pow(10, -digits), digits);
  if (std::stod(out) == 0) out = fmt::format("{:.{}f}", std::pow(10, -digits), digits);
  while (out.find('.') != std::string::npos && (out.back() == '0' || out.back() == '.')) {
    const bool point = out.back() == '.';
    out.pop_back();
    if (point) break;
  }
  return out + "%";
}

std::string percent_interval(const Interval& interval) {
  auto low = percent(interval.low);
  low.pop_back();
  return fmt::format("{}–{}", low, percent(interval.high));
}

std::string quantile_interval(const QuantileInterval& interval) {
  if (interval.low && interval.high)
    return fmt::format("{} to {}", milliseconds(*interval.low), milliseconds(*interval.high));
  if (interval.low) return fmt::format("at least {}", milliseconds(*interval.low));
  if (interval.high) return fmt::format("at most {}", milliseconds(*interval.high));
  return "unbounded";
}

std::string count(std::int64_t n) {
  auto out = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(out.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
    out.insert(static_cast<std::size_t>(at), ",");
  return out;
}

std::vector<std::string> next_steps(bool all_undone,
                                    const std::map<std::string, std::vector<std::string>>& see) {
  constexpr std::size_t enough = 5;
  std::vector<std::string> out{
      fmt::format("{} somebody else's, or what a fault brought about",
                  all_undone ? "every change of Squall's own is undone; these are none of them:"
                             : "what has no \"by hand\" here is no change of Squall's own:")};
  for (auto& [host, commands] : see)
    if (!commands.empty())
      out.push_back(fmt::format(
          "see on {}: {}{}", host,
          join({commands.begin(),
                commands.begin() + static_cast<std::ptrdiff_t>(std::min(commands.size(), enough))},
               "; "),
          commands.size() > enough ? fmt::format("; and {} more", commands.size() - enough) : ""));
  out.emplace_back(
      "take back by hand what is not wanted; what is meant may stay: the next run compares with the host as "
      "it then is");
  return out;
}

std::string clock(std::int64_t wall_ns) {
  const auto parts = utc(wall_ns);
  char out[32];
  std::strftime(out, sizeof out, "%H:%M:%S UTC", &parts);
  return out;
}

std::string day(std::int64_t wall_ns) {
  static constexpr std::array months{"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
  const auto parts = utc(wall_ns);
  return fmt::format("{} {} {}", parts.tm_mday, months[static_cast<std::size_t>(parts.tm_mon)],
                     parts.tm_year + 1900);
}

std::string labels(const std::map<std::string, std::string>& labels, std::string_view without) {
  std::string out;
  for (auto& [key, value] : labels)
    if (key != without) out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ", ", key, value);
  return out.empty() ? "" : "{" + out + "}";
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i)
    out += (i ? std::string(separator) : "") + parts[i];
  return out;
}

std::string dose_value(std::string_view key, const json::value& value, const json::value* prescribed) {
  if (value.is_array()) {
    std::vector<std::string> parts;
    for (auto& item : value.get_array())
      parts.push_back(dose_value(key, item, prescribed));
    return join(parts);
  }
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "yes" : "no";
  if (!value.is_number()) return value.is_null() ? "none" : json::serialize(value);
  json::error_code ignored;
  const double number = value.to_number<double>(ignored);
  const double asked = prescribed && prescribed->is_number() ? prescribed->to_number<double>(ignored) : 0;
  if (auto* unit = unit_of(key))
    return unit->show(number, prescribed && prescribed->is_number() ? &asked : nullptr);
  return value.is_double() ? short_number(number) : json::serialize(value);
}

std::string dose_name(std::string_view key) {
  if (auto* unit = unit_of(key)) key.remove_suffix(unit->ending.size());
  std::string out(key);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

std::vector<DoseRow> dose_rows(const DoseRecord& dose) {
  std::vector<DoseRow> out;
  for (auto& [key, value] : dose.prescribed) {
    auto* measured = dose.measured.if_contains(key);
    out.push_back(
        {dose_name(key), dose_value(key, value, &value), measured ? dose_value(key, *measured, &value) : ""});
  }
  for (auto& [key, value] : dose.measured)
    if (!dose.prescribed.contains(key)) out.push_back({dose_name(key), "", dose_value(key, value)});
  return out;
}

std::string what_met(const json::array& shares, const json::object& witness) {
  auto number = [](const json::object& in, const char* key) {
    auto* member = in.if_contains(key);
    json::error_code ignored;
    return member && member->is_number() ? member->to_number<std::int64_t>(ignored) : 0;
  };
  auto word = [](const json::object& in, const char* key) {
    auto* member = in.if_contains(key);
    return member && member->is_string() ? std::string(member->get_string()) : std::string();
  };
  std::vector<std::string> out;
  const auto probes = number(witness, "met") + number(witness, "passed");
  if (probes > 0)
    out.push_back(fmt::format("{} of {} probes of {} met the fault", count(number(witness, "met")),
                              count(probes), word(witness, "service")));
  else if (number(witness, "unseen") > 0)
    out.push_back(fmt::format("whether the {} probes of {} met the fault is not known",
                              count(number(witness, "unseen")), word(witness, "service")));
  for (auto& item : shares) {
    if (!item.is_object()) continue;
    auto& share = item.get_object();
    if (const auto unknown = word(share, "unknown"); !unknown.empty()) {
      if (probes == 0) out.push_back(fmt::format("how much of the target met it is not known: {}", unknown));
    } else if (number(share, "passed") > 0) {
      out.push_back(fmt::format("{} of {} {} of the target met it", count(number(share, "met")),
                                count(number(share, "met") + number(share, "passed")), word(share, "of")));
    }
  }
  return join(out);
}

namespace {
std::string figures_of(const DoseRecord&);
}

std::string dose_summary(const DoseRecord& dose) {
  const auto met = what_met(dose.shares, dose.witness);
  return figures_of(dose) + (met.empty() ? "" : "; " + met);
}

namespace {
std::string figures_of(const DoseRecord& dose) {
  std::vector<std::string> both, asked, seen;
  for (auto& row : dose_rows(dose)) {
    if (!row.prescribed.empty() && !row.measured.empty())
      both.push_back(fmt::format("{} {} prescribed, {} measured", row.name, row.prescribed, row.measured));
    else if (!row.prescribed.empty())
      asked.push_back(fmt::format("{} {}", row.name, row.prescribed));
    else
      seen.push_back(fmt::format("{} {}", row.name, row.measured));
  }
  if (!both.empty()) return join(both, "; ");
  std::string out;
  if (!asked.empty()) out = join(asked) + " prescribed";
  if (!seen.empty()) out += (out.empty() ? "" : "; ") + join(seen) + " measured";
  return out.empty() ? "nothing measured" : out;
}
}  // namespace

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string cut(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  std::size_t at = 0, seen = 0;
  while (at < text.size()) {
    const bool starts = (text[at] & 0xc0) != 0x80;
    if (starts && seen + 1 == width) break;
    seen += starts;
    ++at;
  }
  return std::string(text.substr(0, at)) + "…";
}

}  // namespace squall::text
