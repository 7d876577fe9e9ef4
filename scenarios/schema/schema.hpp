// One declaration per structure: decoding, validation, help, docs and JSON Schema are all read from it.
//
//   template <> struct Describe<CpuThrottle> {
//     static const Object<CpuThrottle>& object() {
//       static const auto schema = Object<CpuThrottle>("caps the CPU time of a cgroup")
//           .required("leave", &CpuThrottle::leave, "share of one CPU the target may still use");
//       return schema;
//     }
//   };
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "scenarios/text/document.hpp"
#include "scenarios/text/units.hpp"

namespace squall {

// How a type is written. `decode` reports what is wrong and returns false; `schema` is its JSON Schema
// (draft-07); `name` is what help calls it ("duration").
template <class T>
struct Codec;

template <class T>
struct Describe;  // specialised with `static const Object<T>& object()` for each structure

// One documented field, as help, docs and plans print it.
struct FieldDoc {
  std::string name;
  std::string type;
  std::string sentence;
  bool required = false;
  std::string default_text;  // "" where there is none
  std::string bounds;        // "1us to 1h", "" where none
};

// What is common to every Object<T>, for code that prints or checks without knowing T.
class ObjectSchema {
 public:
  virtual ~ObjectSchema() = default;
  virtual boost::json::object json_schema() const = 0;
  virtual std::vector<FieldDoc> fields() const = 0;
  virtual bool check(const Value&, Diagnostics&) const = 0;
};

namespace detail {
void unknown_key(const Member&, const std::vector<std::string>& known, Diagnostics&);
bool expect_map(const Value&, Diagnostics&);
void missing_key(const Value& in, std::string_view key, std::string_view sentence, Diagnostics&);
bool expect_scalar(const Value&, std::string_view what, Diagnostics&);
// Beyond 2^63 the result is the two's complement of the value, as a cast to an unsigned type undoes.
bool parse_integer(const Value&, std::int64_t least, std::uint64_t most, std::int64_t& out, Diagnostics&);
bool parse_number(const Value&, double& out, Diagnostics&);
bool parse_boolean(const Value&, bool& out, Diagnostics&);
boost::json::object pattern(std::string_view regex, std::string_view example);
}  // namespace detail

template <class T>
class Object : public ObjectSchema {
 public:
  explicit Object(std::string sentence = "") : sentence_(std::move(sentence)) {}

  template <class M>
  Object& required(std::string name, M T::* member, std::string sentence) {
    add(std::move(name), member, std::move(sentence));
    fields_.back().doc.required = true;
    return *this;
  }
  // `default_text` is what help shows; the value itself is the member's initialiser.
  template <class M>
  Object& optional(std::string name, M T::* member, std::string sentence, std::string default_text = "") {
    add(std::move(name), member, std::move(sentence));
    fields_.back().doc.default_text = std::move(default_text);
    return *this;
  }
  // A structure that is read by another declaration than its type's own.
  template <class M>
  Object& optional(std::string name, M T::* member, const Object<M>& how, std::string sentence) {
    add(std::move(name), member, std::move(sentence));
    fields_.back().decode = [member, &how](const Value& value, T& out, Diagnostics& diagnostics) {
      return how.decode(value, out.*member, diagnostics);
    };
    fields_.back().schema = [&how] { return how.json_schema(); };
    return *this;
  }
  // The keys of a part stand among this object's own.
  template <class M>
  Object& including(M T::* member) {
    const Object<M>& part = Describe<M>::object();
    for (auto& inner : part.fields_) {
      Field field;
      field.doc = inner.doc;
      field.schema = inner.schema;
      field.decode = [member, decode = inner.decode](const Value& value, T& out, Diagnostics& diagnostics) {
        return decode(value, out.*member, diagnostics);
      };
      if (inner.within)
        field.within = [member, within = inner.within](const T& out) { return within(out.*member); };
      fields_.push_back(std::move(field));
    }
    for (auto& check : part.rules_)
      rules_.push_back([member, check](const T& out, const Value& value, Diagnostics& diagnostics) {
        check(out.*member, value, diagnostics);
      });
    return *this;
  }
  // Bounds of the field declared last, both inclusive.
  template <class M>
  Object& between(M T::* member, M least, M most) {
    bound(least, most, [member](const T& object) { return std::optional<M>(object.*member); });
    return *this;
  }
  template <class M>
  Object& between(std::optional<M> T::* member, M least, M most) {
    bound(least, most, [member](const T& object) { return object.*member; });
    return *this;
  }
  // A rule over several fields; it reports what is wrong. Runs only when every field was decoded.
  Object& rule(std::function<void(const T&, const Value&, Diagnostics&)> check) {
    rules_.push_back(std::move(check));
    return *this;
  }
  // Reads what a list of fields cannot say from the whole mapping, after the fields. The keys it reads are
  // declared with describe_key.
  Object& rest(std::function<bool(const Value&, T&, Diagnostics&)> decode) {
    rest_ = std::move(decode);
    return *this;
  }
  // A key that `rest` reads, with its JSON Schema.
  Object& describe_key(std::string key, boost::json::value schema) {
    extra_schema_[key] = std::move(schema);
    return *this;
  }
  // More JSON Schema keywords for the whole mapping, for what its rules check.
  Object& keywords(boost::json::object schema) {
    keywords_ = std::move(schema);
    return *this;
  }

  bool decode(const Value& value, T& out, Diagnostics& diagnostics) const {
    if (!detail::expect_map(value, diagnostics)) return false;
    const auto before = diagnostics.errors().size();
    bool decoded = true;
    for (auto& member : value.members) {
      if (auto* field = find(member.key))
        decoded = decode_field(*field, member.value, out, diagnostics) && decoded;
      else if (!extra_schema_.contains(member.key))
        detail::unknown_key(member, known_keys(), diagnostics);
    }
    for (auto& field : fields_)
      if (field.doc.required && !value.find(field.doc.name)) {
        detail::missing_key(value, field.doc.name, field.doc.sentence, diagnostics);
        decoded = false;
      }
    if (rest_) decoded = rest_(value, out, diagnostics) && decoded;
    if (decoded)
      for (auto& check : rules_)
        check(out, value, diagnostics);
    return diagnostics.errors().size() == before;
  }

  bool check(const Value& value, Diagnostics& diagnostics) const override {
    T ignored{};
    return decode(value, ignored, diagnostics);
  }

  std::vector<FieldDoc> fields() const override {
    std::vector<FieldDoc> out;
    for (auto& field : fields_)
      out.push_back(field.doc);
    return out;
  }

  boost::json::object json_schema() const override {
    boost::json::object properties = extra_schema_;
    boost::json::array required;
    for (auto& field : fields_) {
      auto schema = field.schema();
      schema["description"] =
          field.doc.default_text.empty()
              ? field.doc.sentence
              : fmt::format("{} (default: {})", field.doc.sentence, field.doc.default_text);
      properties[field.doc.name] = std::move(schema);
      if (field.doc.required) required.emplace_back(field.doc.name);
    }
    boost::json::object out{
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
    if (!sentence_.empty()) out["description"] = sentence_;
    for (auto& [key, keyword] : keywords_)
      out[key] = keyword;
    if (!required.empty()) out["required"] = std::move(required);
    return out;
  }

 private:
  template <class>
  friend class Object;

  struct Field {
    FieldDoc doc;
    std::function<bool(const Value&, T&, Diagnostics&)> decode;
    std::function<boost::json::object()> schema;
    std::function<std::string(const T&)> within;
  };

  template <class M>
  void add(std::string name, M T::* member, std::string sentence) {
    Field field;
    field.doc = {std::move(name), Codec<M>::name(), std::move(sentence), false, "", ""};
    field.decode = [member](const Value& value, T& out, Diagnostics& diagnostics) {
      return Codec<M>::decode(value, out.*member, diagnostics);
    };
    field.schema = [] { return Codec<M>::schema(); };
    fields_.push_back(std::move(field));
  }

  template <class M, class Get>
  void bound(M least, M most, Get get) {
    auto& field = fields_.back();
    auto told = [](const M& bound) {
      if constexpr (std::is_arithmetic_v<M>)
        return fmt::format("{}", bound);
      else
        return to_string(bound);
    };
    field.doc.bounds = fmt::format("{} to {}", told(least), told(most));
    field.within = [get, least, most, told, text = field.doc.bounds](const T& object) -> std::string {
      auto value = get(object);
      if (!value || (*value >= least && *value <= most)) return "";
      return fmt::format("expected {}, got {}", text, told(*value));
    };
  }

  bool decode_field(const Field& field, const Value& value, T& out, Diagnostics& diagnostics) const {
    if (!field.decode(value, out, diagnostics)) return false;
    const auto problem = field.within ? field.within(out) : "";
    if (!problem.empty()) diagnostics.error(value.place, problem);
    return problem.empty();
  }

  std::vector<std::string> known_keys() const {
    std::vector<std::string> out;
    for (auto& field : fields_)
      out.push_back(field.doc.name);
    for (auto& extra : extra_schema_)
      out.emplace_back(extra.key());
    return out;
  }

  const Field* find(std::string_view name) const {
    for (auto& field : fields_)
      if (field.doc.name == name) return &field;
    return nullptr;
  }

  std::string sentence_;
  std::vector<Field> fields_;
  boost::json::object extra_schema_;
  boost::json::object keywords_;
  std::vector<std::function<void(const T&, const Value&, Diagnostics&)>> rules_;
  std::function<bool(const Value&, T&, Diagnostics&)> rest_;
};

// A structure that has a Describe.
template <class T>
  requires requires { Describe<T>::object(); }
struct Codec<T> {
  static std::string name() { return "mapping"; }
  static bool decode(const Value& value, T& out, Diagnostics& diagnostics) {
    return Describe<T>::object().decode(value, out, diagnostics);
  }
  static boost::json::object schema() { return Describe<T>::object().json_schema(); }
};

// An enumeration: specialise with `static constexpr std::array<std::pair<std::string_view, E>, N> names`.
template <class E>
struct EnumNames;

template <class E>
  requires requires { EnumNames<E>::names; }
struct Codec<E> {
  static std::string name() {
    std::string out;
    for (auto& [text, value] : EnumNames<E>::names)
      out += (out.empty() ? "" : " | ") + std::string(text);
    return out;
  }
  static bool decode(const Value& value, E& out, Diagnostics& diagnostics) {
    std::vector<std::string> known;
    std::string listed;
    for (auto& [text, e] : EnumNames<E>::names) {
      if (value.kind == Value::Kind::scalar && value.text == text) {
        out = e;
        return true;
      }
      known.emplace_back(text);
      listed += (listed.empty() ? "" : ", ") + std::string(text);
    }
    auto message = fmt::format("expected one of {}, got {}", listed, value.describe());
    if (!nearest(value.text, known).empty()) message += hint(value.text, known);
    diagnostics.error(value.place, message);
    return false;
  }
  static boost::json::object schema() {
    boost::json::array names;
    for (auto& [text, value] : EnumNames<E>::names)
      names.emplace_back(text);
    return {{"enum", std::move(names)}};
  }
};

template <class E>
std::string enum_text(E value) {
  for (auto& [text, e] : EnumNames<E>::names)
    if (e == value) return std::string(text);
  return "?";
}

template <>
struct Codec<std::string> {
  static std::string name() { return "text"; }
  static bool decode(const Value& value, std::string& out, Diagnostics& diagnostics) {
    if (!detail::expect_scalar(value, "a text", diagnostics)) return false;
    out = value.text;
    return true;
  }
  static boost::json::object schema() {
    return {{"type", boost::json::array{"string", "number", "boolean"}}};
  }
};

template <>
struct Codec<double> {
  static std::string name() { return "number"; }
  static bool decode(const Value& value, double& out, Diagnostics& diagnostics) {
    return detail::parse_number(value, out, diagnostics);
  }
  static boost::json::object schema() { return {{"type", "number"}}; }
};

template <>
struct Codec<bool> {
  static std::string name() { return "true | false"; }
  static bool decode(const Value& value, bool& out, Diagnostics& diagnostics) {
    return detail::parse_boolean(value, out, diagnostics);
  }
  static boost::json::object schema() { return {{"type", "boolean"}}; }
};

template <class I>
  requires(std::is_integral_v<I> && !std::is_same_v<I, bool>)
struct Codec<I> {
  static std::string name() { return "number"; }
  static bool decode(const Value& value, I& out, Diagnostics& diagnostics) {
    std::int64_t wide = 0;
    constexpr auto least = std::is_signed_v<I> ? static_cast<std::int64_t>(std::numeric_limits<I>::min()) : 0;
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<I>::max());
    if (!detail::parse_integer(value, least, most, wide, diagnostics)) return false;
    out = static_cast<I>(wide);
    return true;
  }
  static boost::json::object schema() { return {{"type", "integer"}}; }
};

namespace detail {
template <class T, Parsed<T> (*parse)(std::string_view)>
struct UnitCodec {
  static bool decode(const Value& value, T& out, Diagnostics& diagnostics) {
    if (!expect_scalar(value, Codec<T>::what, diagnostics)) return false;
    auto parsed = parse(value.text);
    if (!parsed) {
      diagnostics.error(value.place, parsed.error());
      return false;
    }
    out = *parsed;
    return true;
  }
};
}  // namespace detail

template <>
struct Codec<Duration> : detail::UnitCodec<Duration, parse_duration> {
  static constexpr std::string_view what = "a duration such as 40ms";
  static std::string name() { return "duration"; }
  static boost::json::object schema() {
    return detail::pattern(R"(^\s*(0|\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d))\s*$)", "40ms");
  }
};
template <>
struct Codec<Size> : detail::UnitCodec<Size, parse_size> {
  static constexpr std::string_view what = "a size such as 4KiB";
  static std::string name() { return "size"; }
  static boost::json::object schema() {
    return detail::pattern(R"(^\s*\d+(\.\d+)?\s*([kKMGT]i?)?B\s*$)", "4KiB");
  }
};
template <>
struct Codec<Rate> : detail::UnitCodec<Rate, parse_rate> {
  static constexpr std::string_view what = "a rate such as 10MiB/s";
  static std::string name() { return "rate"; }
  static boost::json::object schema() {
    return detail::pattern(R"(^\s*\d+(\.\d+)?\s*(([kKMGT]i?)?B/s|[kmg]?bit)\s*$)", "10MiB/s");
  }
};
template <>
struct Codec<Iops> : detail::UnitCodec<Iops, parse_iops> {
  static constexpr std::string_view what = "operations per second such as 50/s";
  static std::string name() { return "operations per second"; }
  static boost::json::object schema() {
    auto text = detail::pattern(R"(^\s*\d+\s*(/s|iops)?\s*$)", "50/s");
    return {{"anyOf", boost::json::array{text, boost::json::object{{"type", "integer"}, {"minimum", 0}}}}};
  }
};
template <>
struct Codec<Percent> : detail::UnitCodec<Percent, parse_percent> {
  static constexpr std::string_view what = "a percentage such as 99.9%";
  static std::string name() { return "percentage"; }
  static boost::json::object schema() { return detail::pattern(R"(^\s*\d+(\.\d+)?\s*%\s*$)", "99.9%"); }
};
template <>
struct Codec<Amount> : detail::UnitCodec<Amount, parse_amount> {
  static constexpr std::string_view what = "a number of at least 1, a share such as 50%, or all";
  static std::string name() { return "number, share or all"; }
  static boost::json::object schema() {
    auto text = detail::pattern(R"(^\s*(\d+|\d+(\.\d+)?\s*%|all)\s*$)", "50%");
    return {{"anyOf", boost::json::array{text, boost::json::object{{"type", "integer"}, {"minimum", 1}}}}};
  }
};
template <>
struct Codec<Comparison<Duration>> : detail::UnitCodec<Comparison<Duration>, parse_duration_comparison> {
  static constexpr std::string_view what = "a comparison such as \"<= 400ms\"";
  static std::string name() { return "bound on a duration"; }
  static boost::json::object schema() {
    return detail::pattern(R"(^\s*(<|<=|>|>=|==|=|≤|≥)\s*(0|\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d))\s*$)",
                           "<= 400ms");
  }
};
template <>
struct Codec<Comparison<Percent>> : detail::UnitCodec<Comparison<Percent>, parse_percent_comparison> {
  static constexpr std::string_view what = "a comparison such as \">= 99%\"";
  static std::string name() { return "bound on a percentage"; }
  static boost::json::object schema() {
    return detail::pattern(R"(^\s*(<|<=|>|>=|==|=|≤|≥)\s*\d+(\.\d+)?\s*%\s*$)", ">= 99%");
  }
};

template <class T>
struct Codec<std::optional<T>> {
  static std::string name() { return Codec<T>::name(); }
  static bool decode(const Value& value, std::optional<T>& out, Diagnostics& diagnostics) {
    T inner{};
    if (!Codec<T>::decode(value, inner, diagnostics)) return false;
    out = std::move(inner);
    return true;
  }
  static boost::json::object schema() { return Codec<T>::schema(); }
};

// A list; a single value stands for a list of one.
template <class T>
struct Codec<std::vector<T>> {
  static std::string name() { return "list of " + Codec<T>::name(); }
  static bool decode(const Value& value, std::vector<T>& out, Diagnostics& diagnostics) {
    out.clear();
    if (value.kind != Value::Kind::list) {
      if (value.kind == Value::Kind::null) {
        diagnostics.error(value.place, "expected a list, got nothing");
        return false;
      }
      return Codec<T>::decode(value, out.emplace_back(), diagnostics);
    }
    bool ok = true;
    for (auto& item : value.items)
      ok = Codec<T>::decode(item, out.emplace_back(), diagnostics) && ok;
    return ok;
  }
  static boost::json::object schema() {
    auto one = Codec<T>::schema();
    return {{"anyOf", boost::json::array{boost::json::object{{"type", "array"}, {"items", one}}, one}}};
  }
};

// A mapping from names the user chooses.
template <class T>
struct Codec<std::map<std::string, T>> {
  static std::string name() { return "mapping of " + Codec<T>::name(); }
  static bool decode(const Value& value, std::map<std::string, T>& out, Diagnostics& diagnostics) {
    if (!detail::expect_map(value, diagnostics)) return false;
    bool ok = true;
    for (auto& member : value.members)
      ok = Codec<T>::decode(member.value, out[member.key], diagnostics) && ok;
    return ok;
  }
  static boost::json::object schema() {
    return {{"type", "object"}, {"additionalProperties", Codec<T>::schema()}};
  }
};

// A part kept as it is written, for somebody who knows its meaning (a fault's parameters).
template <>
struct Codec<Value> {
  static std::string name() { return "mapping"; }
  static bool decode(const Value& value, Value& out, Diagnostics&) {
    out = value;
    return true;
  }
  static boost::json::object schema() { return {}; }
};

}  // namespace squall
