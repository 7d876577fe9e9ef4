#include "scenarios/model/secrets.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace squall {
namespace {

constexpr std::string_view instead = "REDACTED";
constexpr std::array<std::string_view, 9> words{"password", "passwd", "pgpassword", "token",        "secret",
                                                "api_key",  "apikey", "bearer",     "authorization"};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
}

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(), [](char a, char b) {
           return a == std::tolower(static_cast<unsigned char>(b));
         });
}

// Where the password of the URL whose "://" ends at `at` begins and ends; nothing where it has none.
struct Range {
  std::size_t begin = 0, end = 0;
  explicit operator bool() const { return end > begin; }
};

Range password_of_url(std::string_view text, std::size_t at) {
  const auto end = std::min(text.find_first_of("/?# \t\r\n\"'<>", at), text.size());
  const auto host = text.substr(0, end).rfind('@');
  const auto colon = text.find(':', at);
  if (host == std::string_view::npos || host < at || colon >= host) return {};
  return {colon + 1, host};
}

// What stands behind a word and "=" or ":", at `at`: a quoted text without its quotes, or up to what ends a
// word. A scheme of HTTP's Authorization stays ("Basic").
Range value_behind(std::string_view text, std::size_t at) {
  while (at < text.size() && (text[at] == '"' || text[at] == '\''))
    ++at;  // {"password": …}
  if (at >= text.size() || (text[at] != '=' && text[at] != ':')) return {};
  ++at;
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t'))
    ++at;
  if (at >= text.size()) return {};
  for (std::string_view scheme : {"basic ", "bearer ", "digest "})
    for (auto quoted : {0, 1})
      if (starts_with_word(text.substr(std::min(at + static_cast<std::size_t>(quoted), text.size())),
                           scheme)) {
        at += static_cast<std::size_t>(quoted) + scheme.size();
        return {at, std::min(text.find_first_of(" \t\r\n\"',}", at), text.size())};
      }
  if (const char quote = text[at]; quote == '"' || quote == '\'')
    return {at + 1, std::min(text.find(quote, at + 1), text.size())};
  if (std::string_view{"{[|>&*!\r\n"}.find(text[at]) != std::string_view::npos)
    return {};  // where a secret is, not what it is
  return {at, std::min(text.find_first_of(" \t\r\n\"',;&}]", at), text.size())};
}

Range secret_at(std::string_view text, std::size_t at) {
  if (text[at] == ':') return text.substr(at).starts_with("://") ? password_of_url(text, at + 3) : Range{};
  if (at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1]))) return {};
  for (auto word : words)
    if (starts_with_word(text.substr(at), word) &&
        (at + word.size() == text.size() || !is_word(text[at + word.size()])))
      return value_behind(text, at + word.size());
  return {};
}

}  // namespace

std::string redacted(std::string_view text) {
  static constexpr std::string_view first = ":pPtTsSaAbB";
  std::string out;
  std::size_t copied = 0;
  for (auto at = text.find_first_of(first); at != std::string_view::npos;
       at = text.find_first_of(first, at)) {
    const auto secret = secret_at(text, at);
    if (!secret) {
      ++at;
      continue;
    }
    out += text.substr(copied, secret.begin - copied);
    out += instead;
    copied = at = secret.end;
  }
  return out += text.substr(copied);
}

}  // namespace squall
