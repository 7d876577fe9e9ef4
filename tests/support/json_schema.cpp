#include "tests/support/json_schema.hpp"

#include <regex>

#include <fmt/format.h>

namespace squall::test {
namespace {

namespace json = boost::json;

class Validator {
 public:
  explicit Validator(const json::object& root) : root_(root) {}

  std::vector<std::string> check(const json::value& schema, const json::value& value,
                                 const std::string& at) const {
    if (schema.is_bool()) return schema.get_bool() ? Errors{} : Errors{at + ": not allowed"};
    const auto& rules = schema.get_object();
    if (auto* reference = rules.if_contains("$ref"))
      return check(definition(reference->get_string()), value, at);
    Errors errors;
    for (auto& [keyword, rule] : rules) {
      auto found = check_keyword(keyword, rule, rules, value, at);
      errors.insert(errors.end(), found.begin(), found.end());
    }
    return errors;
  }

 private:
  using Errors = std::vector<std::string>;

  const json::value& definition(std::string_view reference) const {
    return root_.at("definitions").at(reference.substr(std::string_view("#/definitions/").size()));
  }

  Errors check_keyword(std::string_view keyword, const json::value& rule, const json::object& rules,
                       const json::value& value, const std::string& at) const {
    if (keyword == "type") return is_of(rule, value) ? Errors{} : Errors{at + ": wrong type"};
    if (keyword == "enum")
      return contains(rule.get_array(), value) ? Errors{} : Errors{at + ": none of the enum"};
    if (keyword == "const") return value == rule ? Errors{} : Errors{at + ": not the const"};
    if (keyword == "pattern") return check_pattern(rule, value, at);
    if (keyword == "minimum") return check_minimum(rule, value, at);
    if (keyword == "minItems")
      return !value.is_array() || value.get_array().size() >= rule.to_number<std::size_t>()
                 ? Errors{}
                 : Errors{at + ": too short"};
    if (keyword == "required") return check_required(rule, value, at);
    if (keyword == "properties") return check_properties(rule.get_object(), value, at);
    if (keyword == "additionalProperties") return check_others(rule, rules, value, at);
    if (keyword == "items") return check_items(rule, value, at);
    if (keyword == "anyOf" || keyword == "oneOf")
      return check_alternatives(keyword, rule.get_array(), value, at);
    if (keyword == "allOf") return check_all(rule.get_array(), value, at);
    if (keyword == "if")
      return check(rule, value, at).empty() ? check(rules.at("then"), value, at) : Errors{};
    for (auto known : {"then", "description", "title", "examples", "definitions", "$schema"})
      if (keyword == known) return {};
    return {fmt::format("{}: the schema uses an unknown keyword {}", at, keyword)};
  }

  static bool is_of(const json::value& type, const json::value& value) {
    if (type.is_array())
      return std::any_of(type.get_array().begin(), type.get_array().end(),
                         [&](auto& one) { return is_of(one, value); });
    const std::string_view name = type.get_string();
    return (name == "object" && value.is_object()) || (name == "array" && value.is_array()) ||
           (name == "string" && value.is_string()) || (name == "boolean" && value.is_bool()) ||
           (name == "integer" && (value.is_int64() || value.is_uint64())) ||
           (name == "number" && value.is_number());
  }

  static bool contains(const json::array& list, const json::value& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  }

  static Errors check_pattern(const json::value& rule, const json::value& value, const std::string& at) {
    if (!value.is_string()) return {};
    const std::regex pattern{std::string(rule.get_string())};
    return std::regex_search(std::string(value.get_string()), pattern) ? Errors{}
                                                                       : Errors{at + ": wrong pattern"};
  }

  static Errors check_minimum(const json::value& rule, const json::value& value, const std::string& at) {
    if (!value.is_number()) return {};
    return value.to_number<double>() >= rule.to_number<double>() ? Errors{} : Errors{at + ": too small"};
  }

  static Errors check_required(const json::value& rule, const json::value& value, const std::string& at) {
    Errors errors;
    for (auto& key : rule.get_array())
      if (value.is_object() && !value.get_object().contains(key.get_string()))
        errors.push_back(fmt::format("{}: missing {}", at, std::string(key.get_string())));
    return errors;
  }

  Errors check_properties(const json::object& properties, const json::value& value,
                          const std::string& at) const {
    Errors errors;
    if (!value.is_object()) return errors;
    for (auto& [key, member] : value.get_object())
      if (auto* schema = properties.if_contains(key))
        for (auto& error : check(*schema, member, at + "/" + std::string(key)))
          errors.push_back(error);
    return errors;
  }

  Errors check_others(const json::value& rule, const json::object& rules, const json::value& value,
                      const std::string& at) const {
    Errors errors;
    if (!value.is_object()) return errors;
    auto* properties = rules.if_contains("properties");
    for (auto& [key, member] : value.get_object())
      if (!properties || !properties->get_object().contains(key))
        for (auto& error : check(rule, member, at + "/" + std::string(key)))
          errors.push_back(error);
    return errors;
  }

  Errors check_items(const json::value& rule, const json::value& value, const std::string& at) const {
    Errors errors;
    if (!value.is_array()) return errors;
    for (std::size_t i = 0; i < value.get_array().size(); ++i)
      for (auto& error : check(rule, value.get_array()[i], fmt::format("{}/{}", at, i)))
        errors.push_back(error);
    return errors;
  }

  Errors check_alternatives(std::string_view keyword, const json::array& schemas, const json::value& value,
                            const std::string& at) const {
    const auto fitting = std::count_if(schemas.begin(), schemas.end(),
                                       [&](auto& one) { return check(one, value, at).empty(); });
    if (fitting == 1 || (fitting > 1 && keyword == "anyOf")) return {};
    auto errors = check(schemas.at(0), value, at);
    if (errors.empty()) errors.push_back(fmt::format("{}: fits {} of {}", at, fitting, keyword));
    return errors;
  }

  Errors check_all(const json::array& schemas, const json::value& value, const std::string& at) const {
    Errors errors;
    for (auto& one : schemas)
      for (auto& error : check(one, value, at))
        errors.push_back(error);
    return errors;
  }

  const json::object& root_;
};

}  // namespace

std::vector<std::string> schema_errors(const boost::json::object& schema, const boost::json::value& value) {
  return Validator{schema}.check(schema, value, "");
}

boost::json::value typed_json(const Value& value) {
  if (value.kind == Value::Kind::list) {
    json::array out;
    for (auto& item : value.items)
      out.push_back(typed_json(item));
    return out;
  }
  if (value.kind == Value::Kind::map) {
    json::object out;
    for (auto& member : value.members)
      out[member.key] = typed_json(member.value);
    return out;
  }
  if (value.kind == Value::Kind::null) return nullptr;
  static const std::regex number{R"(-?\d+(\.\d+)?)"};
  if (!value.quoted && (value.text == "true" || value.text == "false")) return value.text == "true";
  if (!value.quoted && std::regex_match(value.text, number)) return json::parse(value.text);
  return json::string(value.text);
}

}  // namespace squall::test
