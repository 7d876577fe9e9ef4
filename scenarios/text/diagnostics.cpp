#include "scenarios/text/diagnostics.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "scenarios/text/utf8.hpp"

namespace squall {
namespace {

constexpr std::size_t widest = 160;       // characters of a line that are shown
constexpr std::size_t most_shown = 1000;  // errors; a file with more of them is of another kind altogether

// A text that a terminal can be shown: `control` says what stands for a control character.
template <class Control>
std::string printable(std::string_view text, std::size_t longest, Control control) {
  std::string out;
  for (std::size_t shown = 0; !text.empty(); ++shown) {
    if (shown == longest) return out + "...";
    const auto length = sequence_length(text);
    const auto character = text.substr(0, std::max<std::size_t>(1, length));
    if (length == 0)
      out += "\xef\xbf\xbd";  // the replacement character
    else if (is_control(character))
      out += control(character);
    else
      out += character;
    text.remove_prefix(character.size());
  }
  return out;
}

std::string escaped(std::string_view character) {
  if (character == "\n") return "\\n";
  if (character == "\t") return "\\t";
  return fmt::format("\\x{:02x}", static_cast<unsigned char>(character.back()));
}

// Finds lines without walking the text for each.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {
    starts_.push_back(0);
    for (auto at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
      starts_.push_back(at + 1);
  }

  std::string_view line(int number) const {
    const auto i = static_cast<std::size_t>(number) - 1;
    if (number < 1 || i >= starts_.size()) return {};
    auto line = text_.substr(
        starts_[i], i + 1 < starts_.size() ? starts_[i + 1] - starts_[i] - 1 : std::string_view::npos);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

 private:
  std::string_view text_;
  std::vector<std::size_t> starts_;
};

// The line with a caret under the byte at `column`; of a very long line, the part around it.
std::string with_caret(std::string_view line, int column) {
  const auto offset = std::min(static_cast<std::size_t>(std::max(column, 1)) - 1, line.size());
  std::size_t begin = 0;
  if (offset > widest / 2 && line.size() > widest) {
    begin = offset - widest / 2;
    while (begin < offset && sequence_length(line.substr(begin)) == 0)
      ++begin;
  }
  const std::string lead = begin ? "..." : "";
  const auto shown = printable(line.substr(begin), widest, [](auto) { return " "; });
  const auto blanks = lead.size() + count_characters(line.substr(begin, offset - begin));
  return fmt::format("    {}{}\n    {}^\n", lead, shown, std::string(blanks, ' '));
}

// Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

Diagnostics::Diagnostics(std::string name, std::string text)
    : name_(std::move(name)), text_(std::move(text)) {
  if (text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);  // a byte order mark is no part of the first line
}

void Diagnostics::error(Place place, std::string message) {
  errors_.push_back({place, std::move(message)});
}

std::string Diagnostics::render() const {
  auto sorted = errors_;
  std::stable_sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) {
    return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
  });
  const Lines lines{text_};
  const auto source = name_.empty() ? "" : name_ + ":";
  std::string out;
  for (std::size_t i = 0; i < std::min(sorted.size(), most_shown); ++i) {
    const auto place = sorted[i].place;
    const auto message =
        printable(sorted[i].message, std::string::npos, escaped);  // names stand in it unquoted, too
    if (place.line == 0) {
      out += fmt::format("{}{}error: {}\n", source, source.empty() ? "" : " ", message);
      continue;
    }
    const auto line = lines.line(place.line);
    const auto offset = std::min(static_cast<std::size_t>(std::max(place.column, 1)) - 1, line.size());
    out += fmt::format("{}{}:{}: error: {}\n", source, place.line,
                       count_characters(line.substr(0, offset)) + 1, message);
    if (!line.empty()) out += with_caret(line, place.column);
  }
  if (sorted.size() > most_shown)
    out += fmt::format("{} more errors are not shown\n", sorted.size() - most_shown);
  return out;
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 80;
  return '"' + printable(text, longest, escaped) + '"';
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, name.size() / 3) + 1;
  for (auto& candidate : candidates) {
    // The difference in length is a lower bound: most candidates need no closer look, however long a name is.
    const auto longer = std::max(name.size(), candidate.size()),
               shorter = std::min(name.size(), candidate.size());
    if (longer - shorter >= least || longer > widest) continue;
    const auto d = distance(name, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

std::string hint(std::string_view name, const std::vector<std::string>& given) {
  std::vector<std::string> candidates;  // each once, in their order
  for (auto& one : given)
    if (std::find(candidates.begin(), candidates.end(), one) == candidates.end()) candidates.push_back(one);
  if (auto close = nearest(name, candidates); !close.empty())
    return fmt::format("; did you mean \"{}\"?", close);
  // A word of a dotted name: "kill" for "process.kill".
  std::string part;
  std::size_t parts = 0;
  for (auto& candidate : candidates)
    if (('.' + candidate + '.').find('.' + std::string(name) + '.') != std::string::npos && !name.empty())
      part = candidate, ++parts;
  if (parts == 1) return fmt::format("; did you mean \"{}\"?", part);
  if (candidates.empty()) return "";
  constexpr std::size_t most = 20;
  std::string out = ", expected one of ";
  for (std::size_t i = 0; i < std::min(candidates.size(), most); ++i)
    out += (i ? ", " : "") + candidates[i];
  if (candidates.size() > most) out += fmt::format(" and {} more", candidates.size() - most);
  return out;
}

}  // namespace squall
