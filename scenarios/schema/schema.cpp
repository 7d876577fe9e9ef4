#include "scenarios/schema/schema.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace squall::detail {

// What YAML 1.1 takes for a truth value, YAML 1.2 for a text: a program that loads and saves a file makes
// "true:" of "on:".
static const char* before_yaml_1_1(std::string_view key) {
  return key == "true" || key == "True" || key == "TRUE"      ? "on"
         : key == "false" || key == "False" || key == "FALSE" ? "off"
                                                              : nullptr;
}

void unknown_key(const Member& member, const std::vector<std::string>& known, Diagnostics& diagnostics) {
  if (const auto* was = before_yaml_1_1(member.key);
      was && std::find(known.begin(), known.end(), was) != known.end())
    return diagnostics.error(
        member.place, fmt::format("unknown key {0}: it was \"{1}\", and a program that reads YAML 1.1, where "
                                  "that means {0}, rewrote it: write {1}: again, or \"{1}\": in quotes",
                                  quote(member.key), was));
  diagnostics.error(member.place,
                    fmt::format("unknown key {}{}", quote(member.key), hint(member.key, known)));
}

bool expect_map(const Value& value, Diagnostics& diagnostics) {
  if (value.kind == Value::Kind::map) return true;
  diagnostics.error(value.place, fmt::format("expected a mapping, got {}", value.describe()));
  return false;
}

void missing_key(const Value& in, std::string_view key, std::string_view sentence, Diagnostics& diagnostics) {
  diagnostics.error(in.place, fmt::format("missing key \"{}\": {}", key, sentence));
}

bool expect_scalar(const Value& value, std::string_view what, Diagnostics& diagnostics) {
  if (value.kind == Value::Kind::scalar) return true;
  diagnostics.error(value.place, fmt::format("expected {}, got {}", what, value.describe()));
  return false;
}

bool parse_integer(const Value& value, std::int64_t least, std::uint64_t most, std::int64_t& out,
                   Diagnostics& diagnostics) {
  const auto& text = value.text;
  const auto* end = text.data() + text.size();
  const bool negative = text.starts_with('-');
  std::uint64_t magnitude = 0;
  auto [stop, error] = std::from_chars(text.data() + (negative ? 1 : 0), end, magnitude);
  const bool digits =
      value.kind == Value::Kind::scalar && stop == end && error != std::errc::invalid_argument;
  if (!digits) {
    diagnostics.error(value.place, fmt::format("expected a whole number, got {}", value.describe()));
    return false;
  }
  const auto lowest = least < 0 ? ~static_cast<std::uint64_t>(least) + 1 : 0;
  if (error != std::errc{} || (negative ? magnitude > lowest : magnitude > most)) {
    diagnostics.error(value.place,
                      fmt::format("expected a whole number from {} to {}, got {}", least, most, quote(text)));
    return false;
  }
  out = static_cast<std::int64_t>(negative ? ~magnitude + 1 : magnitude);
  return true;
}

bool parse_number(const Value& value, double& out, Diagnostics& diagnostics) {
  const auto& text = value.text;
  const auto* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, out, std::chars_format::fixed);
  if (value.kind == Value::Kind::scalar && stop == end && error == std::errc{} && std::isfinite(out))
    return true;
  diagnostics.error(value.place, fmt::format("expected a number, got {}", value.describe()));
  return false;
}

bool parse_boolean(const Value& value, bool& out, Diagnostics& diagnostics) {
  if (value.kind == Value::Kind::scalar && (value.text == "true" || value.text == "false")) {
    out = value.text == "true";
    return true;
  }
  diagnostics.error(value.place, fmt::format("expected true or false, got {}", value.describe()));
  return false;
}

boost::json::object pattern(std::string_view regex, std::string_view example) {
  return {{"type", "string"}, {"pattern", regex}, {"examples", boost::json::array{example}}};
}

}  // namespace squall::detail
