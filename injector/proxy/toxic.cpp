#include "injector/proxy/toxic.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <vector>

namespace squall::proxy {
namespace {

// What is more is no longer meant, and would overflow what is computed from it: ten years, in nanoseconds
// too, and 10^12 bytes, or kilobytes a second.
constexpr std::int64_t years_in_ms = 10 * 365 * 86'400'000LL, years_in_us = years_in_ms * 1000,
                       large = 1'000'000'000'000;

struct Attribute {
  const char* name;
  std::int64_t Toxic::* field;
  std::int64_t most;
};
struct Declared {
  std::string_view name;
  std::vector<Attribute> attributes;
};

// In the order of ToxicType.
const std::array<Declared, 7>& declared() {
  static const std::array<Declared, 7> all{{
      {"latency", {{"latency", &Toxic::latency_ms, years_in_ms}, {"jitter", &Toxic::jitter_ms, years_in_ms}}},
      {"bandwidth", {{"rate", &Toxic::rate_kb, large}}},
      {"slow_close", {{"delay", &Toxic::delay_ms, years_in_ms}}},
      {"timeout", {{"timeout", &Toxic::timeout_ms, years_in_ms}}},
      {"reset_peer", {{"timeout", &Toxic::timeout_ms, years_in_ms}}},
      {"slicer",
       {{"average_size", &Toxic::average_size, large},
        {"size_variation", &Toxic::size_variation, large},
        {"delay", &Toxic::delay_us, years_in_us}}},
      {"limit_data", {{"bytes", &Toxic::bytes, std::numeric_limits<std::int64_t>::max()}}},
  }};
  return all;
}

const Declared& of(ToxicType type) {
  return declared()[static_cast<std::size_t>(type)];
}

}  // namespace

std::string_view name_of(ToxicType type) {
  return of(type).name;
}
std::string_view name_of(Stream stream) {
  return stream == Stream::upstream ? "upstream" : "downstream";
}

boost::json::object to_json(const Toxic& toxic) {
  boost::json::object attributes;
  for (auto& one : of(toxic.type).attributes)
    attributes[one.name] = toxic.*one.field;
  boost::json::object out;
  out["attributes"] = attributes;
  out["name"] = toxic.name;
  out["type"] = name_of(toxic.type);
  out["stream"] = name_of(toxic.stream);
  // As Go writes a float: 1 and not 1E0.
  if (toxic.toxicity == 0 || toxic.toxicity == 1)
    out["toxicity"] = static_cast<std::int64_t>(toxic.toxicity);
  else
    out["toxicity"] = toxic.toxicity;
  return out;
}

bool read_type(std::string_view text, ToxicType& type) {
  const auto found =
      std::find_if(declared().begin(), declared().end(), [&](auto& one) { return one.name == text; });
  if (found == declared().end()) return false;
  type = static_cast<ToxicType>(found - declared().begin());
  return true;
}

bool read_stream(std::string_view text, Stream& stream) {
  std::string lower{text};
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower != "upstream" && lower != "downstream") return false;
  stream = lower == "upstream" ? Stream::upstream : Stream::downstream;
  return true;
}

std::vector<std::string_view> attributes_of(ToxicType type) {
  std::vector<std::string_view> out;
  for (auto& one : of(type).attributes)
    out.emplace_back(one.name);
  return out;
}

bool read_attributes(const boost::json::object& with, Toxic& toxic) {
  for (auto& one : of(toxic.type).attributes) {
    auto* value = with.if_contains(one.name);
    if (!value || value->is_null()) continue;
    if (!value->is_number()) return false;
    boost::json::error_code inexact;
    const auto number = value->to_number<std::int64_t>(inexact);
    if (inexact) return false;
    toxic.*one.field = std::clamp(number, -one.most, one.most);
  }
  return true;
}

}  // namespace squall::proxy
