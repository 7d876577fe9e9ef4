#include "scenarios/document.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace squall {
namespace {

// Thrown to leave yaml-cpp's parser once a limit is passed; never leaves this file.
struct Refused {};

std::size_t count_nodes(const Value& value) {
  std::size_t n = 1;
  for (auto& item : value.items) n += count_nodes(item);
  for (auto& member : value.members) n += count_nodes(member.value);
  return n;
}

// Builds the tree from the parser's events: no graph of shared nodes ever exists, so aliases are copies that count
// against the limits and a cycle cannot be built.
class Builder : public YAML::EventHandler {
 public:
  Builder(Diagnostics& diagnostics, const DocumentLimits& limits) : diagnostics_(diagnostics), limits_(limits) {}

  Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Value value;
    value.place = place(mark);
    add(std::move(value), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      diagnostics_.error(place(mark), "this alias refers to a value that contains it");
      throw Refused{};
    }
    count(count_nodes(found->second) - 1, mark);
    add(found->second, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    Value value = Value::scalar(text, tag == "!");
    value.place = place(mark);
    if (tag == "?" && (text == "~" || text == "null" || text == "")) value.kind = Value::Kind::null;
    add(std::move(value), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Value::Kind::list, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Value::Kind::map, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Value value;
    YAML::anchor_t anchor;
    bool has_key = false;
    Member member;
  };

  static Place place(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

  void count(std::size_t nodes, const YAML::Mark& mark) {
    nodes_ += nodes;
    if (nodes_ <= limits_.nodes) return;
    diagnostics_.error(place(mark), fmt::format("the document grows beyond {} values here", limits_.nodes));
    throw Refused{};
  }

  void open(Value::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (static_cast<int>(frames_.size()) >= limits_.depth) {
      diagnostics_.error(place(mark), fmt::format("nested deeper than {} levels", limits_.depth));
      throw Refused{};
    }
    count(1, mark);
    Frame frame;
    frame.value.kind = kind;
    frame.value.place = place(mark);
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
  }

  void close() {
    auto frame = std::move(frames_.back());
    frames_.pop_back();
    --nodes_;  // counted when it was opened, counted again when added
    add(std::move(frame.value), frame.anchor);
  }

  void add(Value value, YAML::anchor_t anchor) {
    count(1, YAML::Mark{});
    if (anchor) anchors_[anchor] = value;
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    auto& frame = frames_.back();
    if (frame.value.kind == Value::Kind::list) {
      frame.value.items.push_back(std::move(value));
    } else if (!frame.has_key) {
      frame.has_key = true;
      frame.member = Member{value.text, value.place, {}};
      if (value.kind != Value::Kind::scalar)
        diagnostics_.error(value.place, fmt::format("expected a key, got {}", value.describe()));
    } else {
      frame.has_key = false;
      if (auto* first = find_place(frame.value, frame.member.key))
        diagnostics_.error(frame.member.place,
                           fmt::format("duplicate key \"{}\", first given in line {}", frame.member.key, first->line));
      if (value.kind == Value::Kind::null) value.place = frame.member.place;
      frame.member.value = std::move(value);
      frame.value.members.push_back(std::move(frame.member));
    }
  }

  static const Place* find_place(const Value& map, std::string_view key) {
    for (auto& member : map.members)
      if (member.key == key) return &member.place;
    return nullptr;
  }

  Diagnostics& diagnostics_;
  const DocumentLimits& limits_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Value> anchors_;
  std::size_t nodes_ = 0;
  Value root_;
};

// The place of the first byte that is not part of well-formed UTF-8, or of a NUL; line 0 where all is well.
Place first_bad_byte(std::string_view text) {
  Place at{1, 1};
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    std::size_t length = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : (c & 0xf8) == 0xf0 ? 4 : 0;
    const bool control = c < 0x20 && c != '\n' && c != '\r' && c != '\t';
    if (length == 0 || control || c == 0xc0 || c == 0xc1 || i + length > text.size()) return at;
    for (std::size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return at;
    i += length;
    if (c == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      ++at.column;
    }
  }
  return {};
}

std::string plain_words(const std::string& message) {
  static const std::map<std::string, std::string> words{
      {"illegal map value", "expected \"key: value\": check the indentation, and quote texts that contain \": \""},
      {"end of map not found", "expected another \"key: value\" or the end of this mapping: check the indentation"},
      {"end of sequence not found", "expected another \"- item\" or the end of this list: check the indentation"},
      {"end of sequence flow not found", "expected \",\" or \"]\""},
      {"end of map flow not found", "expected \",\" or \"}\""},
      {"unknown token", "expected a key or a value, got a character that cannot start one"},
  };
  auto found = words.find(message);
  return found == words.end() ? message : found->second;
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  for (auto& member : members)
    if (member.key == key) return &member.value;
  return nullptr;
}

std::string Value::describe() const {
  switch (kind) {
    case Kind::null: return "nothing";
    case Kind::list: return "a list";
    case Kind::map: return "a mapping";
    case Kind::scalar: return quote(text);
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

Value Value::map() { return map({}); }

Value Value::map(std::vector<Member> members) {
  Value value;
  value.kind = Kind::map;
  value.members = std::move(members);
  return value;
}

Value parse_document(std::string_view text, Diagnostics& diagnostics, const DocumentLimits& limits) {
  if (text.size() > limits.bytes) {
    diagnostics.error({}, fmt::format("the file has {} bytes, more than the {} that are read", text.size(), limits.bytes));
    return {};
  }
  if (auto bad = first_bad_byte(text); bad.line) {
    diagnostics.error(bad, "expected UTF-8 text, got a byte that cannot be part of it");
    return {};
  }
  std::istringstream stream{std::string(text)};
  Builder builder{diagnostics, limits};
  try {
    YAML::Parser parser{stream};
    parser.HandleNextDocument(builder);
    Diagnostics ignored;
    Builder second{ignored, limits};
    if (parser.HandleNextDocument(second))
      diagnostics.error(second.take().place, "expected the end of the file, got a second document");
  } catch (const Refused&) {
    return {};
  } catch (const YAML::DeepRecursion&) {
    diagnostics.error({}, fmt::format("nested deeper than {} levels", limits.depth));
    return {};
  } catch (const YAML::Exception& e) {
    diagnostics.error({e.mark.line + 1, e.mark.column + 1}, plain_words(e.msg));
    return {};
  }
  return builder.take();
}

std::string read_text_file(const std::string& path, Diagnostics& diagnostics, const DocumentLimits& limits) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    diagnostics.error({}, "no such file");
    return "";
  }
  if (std::filesystem::is_directory(status)) {
    diagnostics.error({}, "expected a file, got a folder");
    return "";
  }
  std::ifstream file{path, std::ios::binary};
  std::string text;
  text.resize(limits.bytes + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file && !file.eof()) {
    diagnostics.error({}, "the file cannot be read");
    return "";
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

Value from_json(const boost::json::value& json) {
  Value value;
  if (json.is_object()) {
    value.kind = Value::Kind::map;
    for (auto& [key, member] : json.get_object()) value.members.push_back({std::string(key), {}, from_json(member)});
  } else if (json.is_array()) {
    value.kind = Value::Kind::list;
    for (auto& item : json.get_array()) value.items.push_back(from_json(item));
  } else if (json.is_string()) {
    value = Value::scalar(std::string(json.get_string()), true);
  } else if (!json.is_null()) {
    value = Value::scalar(boost::json::serialize(json));
  }
  return value;
}

boost::json::value to_json(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null: return nullptr;
    case Value::Kind::scalar: return boost::json::string(value.text);
    case Value::Kind::list: {
      boost::json::array out;
      for (auto& item : value.items) out.push_back(to_json(item));
      return out;
    }
    case Value::Kind::map: {
      boost::json::object out;
      for (auto& member : value.members) out[member.key] = to_json(member.value);
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
      diagnostics.error({}, fmt::format("expected key=value, got \"{}\"", argument));
      continue;
    }
    auto key = argument.substr(0, at);
    if (out.find(key)) diagnostics.error({}, fmt::format("duplicate key \"{}\"", key));
    out.members.push_back({std::move(key), {}, Value::scalar(argument.substr(at + 1))});
  }
  return out;
}

}  // namespace squall
