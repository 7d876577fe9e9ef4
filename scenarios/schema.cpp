#include "scenarios/schema.hpp"

#include <charconv>

namespace squall::detail {

void unknown_key(const Member& member, const std::vector<std::string>& known, Diagnostics& diagnostics) {
  auto message = fmt::format("unknown key \"{}\"", member.key);
  if (auto close = nearest(member.key, known); !close.empty()) {
    message += fmt::format("; did you mean \"{}\"?", close);
  } else if (!known.empty()) {
    message += ", expected one of ";
    for (std::size_t i = 0; i < known.size(); ++i) message += (i ? ", " : "") + known[i];
  }
  diagnostics.error(member.place, message);
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

bool parse_integer(const Value& value, std::int64_t least, std::int64_t most, std::int64_t& out,
                   Diagnostics& diagnostics) {
  const auto& text = value.text;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (value.kind != Value::Kind::scalar || error != std::errc{} || stop != text.data() + text.size() || text.empty()) {
    diagnostics.error(value.place, fmt::format("expected a whole number, got {}", value.describe()));
    return false;
  }
  if (out < least || out > most) {
    diagnostics.error(value.place, fmt::format("expected a whole number from {} to {}, got {}", least, most, text));
    return false;
  }
  return true;
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
