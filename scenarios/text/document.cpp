#include "scenarios/text/document.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>
#include <unordered_map>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "scenarios/text/utf8.hpp"
#include "scenarios/text/yaml_mistakes.hpp"

namespace squall {
namespace {

// Thrown to leave yaml-cpp's parser once it is known that the text is refused; never leaves this file.
struct Refused {};

Place place_of(const YAML::Mark& mark) {
  return {mark.line + 1, mark.column + 1};
}

// How much a value is: its nodes, the bytes of its texts, and how deep it goes.
struct Extent {
  std::size_t nodes = 0, bytes = 0;
  int depth = 0;
};

Extent extent(const Value& value) {
  Extent total{1, value.text.size(), 1};
  auto add = [&](const Value& part) {
    const auto inner = extent(part);
    total = {total.nodes + inner.nodes, total.bytes + inner.bytes, std::max(total.depth, inner.depth + 1)};
  };
  for (auto& item : value.items)
    add(item);
  for (auto& member : value.members)
    add(member.value);
  return total;
}

// Builds the tree from the parser's events: no graph of shared nodes ever exists, so aliases are copies that
// count against the limits, and a cycle cannot be built.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, Diagnostics& diagnostics, const DocumentLimits& limits)
      : text_(text), diagnostics_(diagnostics), limits_(limits) {}

  Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (started_) refuse_second_document(mark);
    started_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Value value;
    value.place = null_place(mark);
    add(std::move(value), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(place_of(mark), "this alias refers to a value that contains it");
    check_depth(found->second.extent.depth, place_of(mark));
    count(found->second.extent, place_of(mark));
    put(found->second.value);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    refuse_tag(mark, tag);
    const bool quoted = tag == "!";
    refuse_control(mark, text);
    if (quoted && is_unclosed_quote(text_, static_cast<std::size_t>(mark.pos)))
      refuse(place_of(mark), "this quote is never closed");
    Value value = Value::scalar(text, quoted);
    value.place = place_of(mark);
    if (!quoted && (text == "~" || text == "null")) value.kind = Value::Kind::null;
    add(std::move(value), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Value::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Value::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  enum class Next { key, value, merged_value, dropped_value };
  struct Frame {
    Value value;
    YAML::anchor_t anchor = 0;
    Next next = Next::key;
    Member member;
    std::unordered_map<std::string, int> lines;  // of the keys so far
    std::vector<Member> merged;                  // what "<<" brings, for keys that are not given
  };
  struct Anchored {
    Value value;
    Extent extent;
  };

  [[noreturn]] void refuse(Place place, std::string message) {
    diagnostics_.error(place, std::move(message));
    throw Refused{};
  }

  void refuse_second_document(const YAML::Mark& mark) {
    const bool marked = text_.substr(static_cast<std::size_t>(mark.pos)).starts_with("---");
    refuse(place_of(mark), marked ? "expected the end of the file, got a second document"
                                  : "expected the end of the file: check the indentation");
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(place_of(mark), "tags (\"!…\") are not supported: quote a text that starts with \"!\"");
  }

  // Escapes such as "\0" and "\e" would reach C strings and terminals.
  void refuse_control(const YAML::Mark& mark, std::string_view text) {
    for (; !text.empty(); text.remove_prefix(std::max<std::size_t>(1, sequence_length(text)))) {
      const auto character = text.substr(0, std::max<std::size_t>(1, sequence_length(text)));
      if (is_control(character) && std::string_view("\n\r\t").find(character[0]) == std::string_view::npos)
        refuse(place_of(mark),
               fmt::format("expected text, got one with the control character {}", quote(character)));
    }
  }

  // The parser reports an empty value where the next token stands; readers look for it at its key or dash.
  Place null_place(const YAML::Mark& mark) {
    const auto rest = text_.substr(std::min(static_cast<std::size_t>(mark.pos), text_.size()));
    if (rest.starts_with("~") || rest.starts_with("null")) return place_of(mark);
    if (frames_.empty()) return place_of(mark);
    const auto& frame = frames_.back();
    if (frame.next != Next::key) return frame.member.place;
    const auto before = text_.substr(0, text_.size() - rest.size()).find_last_not_of(" \t\r\n");
    if (frame.value.kind != Value::Kind::list || before == std::string_view::npos || text_[before] != '-')
      return frame.value.place;
    const auto head = text_.substr(0, before);
    const auto newlines =
        std::count(text_.begin() + static_cast<std::ptrdiff_t>(before),
                   text_.begin() + static_cast<std::ptrdiff_t>(text_.size() - rest.size()), '\n');
    const auto start = head.rfind('\n');
    return {mark.line + 1 - static_cast<int>(newlines),
            static_cast<int>(before - (start == std::string_view::npos ? 0 : start + 1)) + 1};
  }

  void count(const Extent& more, Place place) {
    total_.nodes += more.nodes;
    total_.bytes += more.bytes;
    if (total_.nodes > limits_.nodes)
      refuse(place, fmt::format("the document grows beyond {} values here", limits_.nodes));
    if (total_.bytes > 2 * limits_.bytes) refuse(place, "aliases make the document too large here");
  }

  void check_depth(int more, Place place) {
    if (static_cast<int>(frames_.size()) + more > limits_.depth)
      refuse(place, fmt::format("nested deeper than {} levels", limits_.depth));
  }

  void open(Value::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    check_depth(1, place_of(mark));
    Frame frame;
    frame.value.kind = kind;
    frame.value.place = place_of(mark);
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
  }

  void close() {
    auto frame = std::move(frames_.back());
    frames_.pop_back();
    for (auto& member : frame.merged)
      if (frame.lines.emplace(member.key, 0).second) frame.value.members.push_back(std::move(member));
    add(std::move(frame.value), frame.anchor);
  }

  void add(Value value, YAML::anchor_t anchor) {
    count({1, value.text.size(), 1}, value.place);
    if (anchor) {
      const auto size = extent(value);
      count(size, value.place);  // kept a second time
      anchors_[anchor] = {value, size};
    }
    put(std::move(value));
  }

  void put(Value value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    auto& frame = frames_.back();
    if (frame.value.kind == Value::Kind::list) {
      frame.value.items.push_back(std::move(value));
      return;
    }
    switch (std::exchange(frame.next, Next::key)) {
      case Next::key:
        frame.next = begin_member(frame, std::move(value));
        break;
      case Next::merged_value:
        merge(frame, std::move(value));
        break;
      case Next::dropped_value:
        break;
      case Next::value:
        frame.member.value = std::move(value);
        frame.value.members.push_back(std::move(frame.member));
    }
  }

  Next begin_member(Frame& frame, Value key) {
    frame.member = Member{key.text, key.place, {}};
    if (key.kind != Value::Kind::scalar) {
      diagnostics_.error(key.place, fmt::format("expected a key, got {}", key.describe()));
      return Next::dropped_value;
    }
    if (key.text == "<<" && !key.quoted) return Next::merged_value;
    auto [first, fresh] = frame.lines.emplace(key.text, key.place.line);
    if (fresh) return Next::value;
    diagnostics_.error(
        key.place, fmt::format("duplicate key {}, first given in line {}", quote(key.text), first->second));
    return Next::dropped_value;
  }

  // "<<: *anchor", or a list of them: keys that are not given themselves; of two merged ones the first wins.
  void merge(Frame& frame, Value from) {
    if (from.kind == Value::Kind::list) {
      for (auto& one : from.items)
        merge(frame, std::move(one));
      return;
    }
    if (from.kind != Value::Kind::map) {
      diagnostics_.error(from.place, fmt::format("expected a mapping to merge, got {}", from.describe()));
      return;
    }
    for (auto& member : from.members)
      frame.merged.push_back(std::move(member));
  }

  std::string_view text_;
  Diagnostics& diagnostics_;
  const DocumentLimits& limits_;
  bool started_ = false;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  Extent total_;
  Value root_;
};

// What no text file holds: bytes that are not UTF-8, and control characters.
bool refuse_binary(std::string_view text, Diagnostics& diagnostics) {
  Place at{1, 1};
  for (std::size_t i = 0; i < text.size();) {
    const auto length = sequence_length(text.substr(i));
    const auto c = static_cast<unsigned char>(text[i]);
    if (length == 0) {
      diagnostics.error(at, fmt::format("expected UTF-8 text, got the byte 0x{:02x}", c));
      return true;
    }
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
      diagnostics.error(at, fmt::format("expected text, got the control character 0x{:02x}", c));
      return true;
    }
    i += length;
    at = c == '\n' ? Place{at.line + 1, 1} : Place{at.line, at.column + static_cast<int>(length)};
  }
  return false;
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

Value parse_document(std::string_view text, Diagnostics& diagnostics, const DocumentLimits& limits) {
  if (text.size() > limits.bytes) {
    diagnostics.error({}, fmt::format("the file has more than the {} bytes that are read", limits.bytes));
    return {};
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (refuse_binary(text, diagnostics)) return {};
  std::istringstream stream{std::string(text)};
  Builder builder{text, diagnostics, limits};
  try {
    YAML::Parser parser{stream};
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused&) {
    return {};
  } catch (const YAML::DeepRecursion& e) {
    diagnostics.error(place_of(e.mark), fmt::format("nested deeper than {} levels", limits.depth));
    return {};
  } catch (const YAML::Exception& e) {
    const auto place = e.mark.is_null() ? Place{} : place_of(e.mark);
    const auto [at, message] = explain(e.msg, text, static_cast<std::size_t>(std::max(e.mark.pos, 0)), place);
    diagnostics.error(at, message);
    return {};
  }
  return builder.take();
}

std::string read_text_file(const std::string& path, Diagnostics& diagnostics, const DocumentLimits& limits) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status{};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) {
    diagnostics.error({}, errno == ENOENT
                              ? "no such file"
                              : fmt::format("the file cannot be opened: {}", std::strerror(errno)));
    return "";
  }
  if (S_ISDIR(status.st_mode)) {
    diagnostics.error({}, "expected a file, got a folder");
    return "";
  }
  std::string text;
  std::array<char, 1 << 16> chunk;
  while (text.size() <= limits.bytes) {
    const auto n = ::read(file.fd, chunk.data(), chunk.size());
    if (n == 0) return text;
    if (n > 0) text.append(chunk.data(), static_cast<std::size_t>(n));
    if (n >= 0 || errno == EINTR) continue;
    diagnostics.error({}, fmt::format("the file cannot be read: {}", std::strerror(errno)));
    return "";
  }
  diagnostics.error({}, fmt::format("the file has more than the {} bytes that are read", limits.bytes));
  return "";
}

}  // namespace squall
