#include "scenarios/text/document.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace squall {

const Value* Value::find(std::string_view key) const {
  for (auto& member : members)
    if (member.key == key) return &member.value;
  return nullptr;
}

std::string Value::describe() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "a mapping";
    case Kind::scalar:
      return quote(text);
  }
  return "?";
}

Value Value::scalar(std::string text, bool quoted) {
  Value value;
  value.kind = Kind::scalar;
  value.text = std::move(text);
  value.quoted = quoted;
  return value;
}

Value Value::map() {
  return map({});
}

Value Value::map(std::vector<Member> members) {
  Value value;
  value.kind = Kind::map;
  value.members = std::move(members);
  return value;
}

Value from_json(const boost::json::value& json) {
  Value value;
  if (json.is_object()) {
    value.kind = Value::Kind::map;
    for (auto& [key, member] : json.get_object())
      value.members.push_back({std::string(key), {}, from_json(member)});
  } else if (json.is_array()) {
    value.kind = Value::Kind::list;
    for (auto& item : json.get_array())
      value.items.push_back(from_json(item));
  } else if (json.is_string()) {
    value = Value::scalar(std::string(json.get_string()), true);
  } else if (json.is_double()) {
    value = Value::scalar(fmt::format("{}", json.get_double()));  // Boost.JSON writes 1.5E0
  } else if (!json.is_null()) {
    value = Value::scalar(boost::json::serialize(json));
  }
  return value;
}

boost::json::value to_json(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null:
      return nullptr;
    case Value::Kind::scalar:
      return boost::json::string(value.text);
    case Value::Kind::list: {
      boost::json::array out;
      for (auto& item : value.items)
        out.push_back(to_json(item));
      return out;
    }
    case Value::Kind::map: {
      boost::json::object out;
      for (auto& member : value.members)
        out[member.key] = to_json(member.value);
      return out;
    }
  }
  return nullptr;
}

Value from_arguments(const std::vector<std::string>& arguments, Diagnostics& diagnostics) {
  Value out = Value::map();
  for (auto& argument : arguments) {
    const auto at = argument.find('=');
    if (at == std::string::npos || at == 0) {
      diagnostics.error({}, fmt::format("expected key=value, got {}", quote(argument)));
      continue;
    }
    auto key = argument.substr(0, at);
    if (out.find(key)) diagnostics.error({}, fmt::format("duplicate key {}", quote(key)));
    out.members.push_back({std::move(key), {}, Value::scalar(argument.substr(at + 1))});
  }
  return out;
}

}  // namespace squall
