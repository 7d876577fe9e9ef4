// A YAML or JSON document as a plain tree in which every value knows its place. yaml-cpp stays inside this
// pair.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "scenarios/text/diagnostics.hpp"

namespace squall {

struct Member;

struct Value {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;     // of a scalar
  bool quoted = false;  // "5" is a text where 5 is a number
  std::vector<Value> items;
  std::vector<Member> members;  // in the order of the file
  Place place;

  // Defined below Member, which holds a Value itself.
  Value();
  ~Value();
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;

  const Value* find(std::string_view key) const;
  // "a mapping", "a list", "nothing", or the scalar in quotes: for "expected X, got …".
  std::string describe() const;

  static Value scalar(std::string text, bool quoted = false);
  static Value map();
  static Value map(std::vector<Member> members);
};

struct Member {
  std::string key;
  Place place;
  Value value;
};

inline Value::Value() = default;
inline Value::~Value() = default;
inline Value::Value(const Value&) = default;
inline Value::Value(Value&&) noexcept = default;
inline Value& Value::operator=(const Value&) = default;
inline Value& Value::operator=(Value&&) noexcept = default;

// Limits that no honest file reaches; beyond them a file is refused with a clear error.
struct DocumentLimits {
  std::size_t bytes = 4u << 20;
  std::size_t nodes = 200'000;
  int depth = 64;
};

// Parses one YAML document (JSON is YAML too). Aliases are copies of what they refer to, "<<" merges
// mappings. Refused, with their places: cyclic aliases, duplicate keys, tags, keys that are not texts,
// several documents, quotes that are never closed, control characters and text that is not UTF-8, and what
// exceeds the limits (copies count). Whatever is wrong goes to `diagnostics`; the value is then what could be
// understood.
Value parse_document(std::string_view text, Diagnostics& diagnostics, const DocumentLimits& limits = {});

// Reads a whole file; an error (missing, a folder, too large) goes to `diagnostics` and gives "".
std::string read_text_file(const std::string& path, Diagnostics& diagnostics,
                           const DocumentLimits& limits = {});

Value from_json(const boost::json::value&);
boost::json::value to_json(const Value&);

// key=value arguments of a command line as a mapping; "a.b=c" is not split. Errors go to `diagnostics`.
Value from_arguments(const std::vector<std::string>& arguments, Diagnostics& diagnostics);

}  // namespace squall
