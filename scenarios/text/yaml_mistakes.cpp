#include "scenarios/text/yaml_mistakes.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 16> words{{
    {"illegal map value",
     "expected \"key: value\": check the indentation, and quote texts that contain \": \""},
    {"illegal map key", "expected \"key: value\": check the indentation"},
    {"illegal block entry", "expected \"key: value\", got a list item: check the indentation"},
    {"illegal flow end", "got a closing bracket or brace that was never opened"},
    {"end of map not found",
     "expected another \"key: value\" or the end of this mapping: check indentation and quotes"},
    {"end of sequence not found",
     "expected another \"- item\" or the end of this list: check indentation and quotes"},
    {"end of map flow not found", "expected \",\" or \"}\""},
    {"unexpected character in block scalar",
     "expected a text, got \">\" or \"|\": quote comparisons, such as \">= 99%\""},
    {"unknown token", "expected a key or a value, got a character that cannot start one: quote the text"},
    {"unknown escape character",
     "expected an escape such as \\n or \\\", got an unknown one: single quotes take \\ as it is"},
    {"the referenced anchor is not defined", "this alias refers to an anchor that is not defined above it"},
    {"illegal EOF in scalar", "expected the end of the text, got the end of the file"},
    {"illegal document indicator in scalar", "expected the end of the text, got the end of the document"},
    {"alias not found after *", "expected a name after \"*\": quote a text that starts with it"},
    {"anchor not found after &", "expected a name after \"&\": quote a text that starts with it"},
    {"bad character found while scanning hex number", "expected a hexadecimal number after this escape"},
}};

// Where the quoted text that opens at `at` ends.
std::size_t closing_quote(std::string_view text, std::size_t at) {
  const char mark = text[at];
  for (++at; at < text.size(); ++at) {
    if (mark == '"' && text[at] == '\\') {
      ++at;
    } else if (text[at] == mark) {
      if (mark == '"' || at + 1 >= text.size() || text[at + 1] != mark) return at;
      ++at;  // '' within single quotes is a quote
    }
  }
  return std::string_view::npos;
}

struct Bracket {
  char opening;
  int line;
};

// The brackets that are open before `end`, innermost last. They open where a value can begin only.
std::vector<Bracket> open_brackets(std::string_view text, std::size_t end) {
  std::vector<Bracket> open;
  int line = 1;
  char before = '\n';  // the last character that is no blank
  for (std::size_t at = 0; at < std::min(end, text.size()); ++at) {
    const char c = text[at];
    const bool can_begin = std::string_view("\n-:,?[{").find(before) != std::string_view::npos;
    if (c == '\n') {
      ++line;
    } else if (c == '#' && (at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n')) {
      at = std::min(text.find('\n', at), text.size()) - 1;
      continue;
    } else if ((c == '"' || c == '\'') && can_begin) {
      const auto stop = std::min(closing_quote(text, at), end);
      line += static_cast<int>(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                                          text.begin() + static_cast<std::ptrdiff_t>(stop), '\n'));
      at = stop;
    } else if ((c == '{' || c == '[') && can_begin) {
      open.push_back({c, line});
    } else if ((c == '}' || c == ']') && !open.empty()) {
      open.pop_back();
    }
    if (c != ' ' && c != '\r' && (c != '\n' || open.empty())) before = c;
  }
  return open;
}

// Blanks before `at` in its line that hold a tab: where it is.
std::size_t tab_in_indentation(std::string_view text, std::size_t at) {
  const auto newline = text.substr(0, at).rfind('\n');
  const auto start = newline == std::string_view::npos ? 0 : newline + 1;
  const auto tab = text.find('\t', start);
  return tab < text.find_first_not_of(" \t", start) ? tab - start : std::string_view::npos;
}

}  // namespace

bool is_unclosed_quote(std::string_view text, std::size_t at) {
  // An anchor may stand before the quote.
  while (at < text.size() && (text[at] == '&' || text[at] == '!')) {
    at = std::min(text.find_first_of(" \t\r\n", at), text.size());
    at = std::min(text.find_first_not_of(" \t\r\n", at), text.size());
  }
  if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return false;
  return closing_quote(text, at) == std::string_view::npos;
}

Diagnostic explain(std::string_view message, std::string_view text, std::size_t at, Place place) {
  if (const auto tab = tab_in_indentation(text, at); place.line > 0 && tab != std::string_view::npos)
    return {{place.line, static_cast<int>(tab) + 1},
            "expected spaces, got a tab: YAML is indented with spaces only"};
  const bool structural = message.starts_with("illegal") || message.starts_with("end of");
  const auto open = structural ? open_brackets(text, at) : std::vector<Bracket>{};
  if (!open.empty())
    return {place, open.back().opening == '{'
                       ? fmt::format("expected \",\" or \"}}\": the mapping opened in line {} is not closed",
                                     open.back().line)
                       : fmt::format("expected \",\" or \"]\": the list opened in line {} is not closed",
                                     open.back().line)};
  for (auto& [theirs, ours] : words)
    if (message.starts_with(theirs)) return {place, std::string(ours)};
  return {place, std::string(message)};
}

}  // namespace squall
