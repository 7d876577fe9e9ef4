#include "scenarios/text/text.hpp"

#include <algorithm>
#include <charconv>
#include <regex>

#include <arpa/inet.h>

#include <fmt/format.h>

#include "scenarios/text/diagnostics.hpp"

namespace squall {
namespace {

constexpr std::size_t longest_regex = 1000;

bool is_port(std::string_view text) {
  int port = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && stop == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool is_host(std::string_view text) {
  if (text.starts_with('[')) {
    if (text.size() < 4 || !text.ends_with(']')) return false;
    return text.find(':') != std::string_view::npos &&
           std::all_of(text.begin() + 1, text.end() - 1, [](unsigned char c) {
             return std::isalnum(c) || c == ':' || c == '.' || c == '%' || c == '-';
           });
  }
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c >= 0x80;
  });
}

// Splits "host:port" and "[v6]:port"; the port is "" where there is none.
std::pair<std::string_view, std::string_view> split_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || (text.starts_with('[') && text.ends_with(']'))) return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// libstdc++ words these differently from version to version.
std::string_view words(std::regex_constants::error_type code) {
  using namespace std::regex_constants;
  if (code == error_paren) return "a parenthesis does not match, or nothing stands before *, + or ?";
  if (code == error_brack) return "a bracket is not closed";
  if (code == error_brace || code == error_badbrace) return "the numbers in braces are malformed";
  if (code == error_badrepeat) return "there is nothing to repeat before *, +, ? or {";
  if (code == error_escape) return "an escape is unknown or unfinished";
  if (code == error_range) return "a range in brackets is malformed";
  if (code == error_backref) return "it refers to a group that it does not have";
  if (code == error_ctype || code == error_collate) return "a class in brackets is unknown";
  return "it is too complex";
}

// The words of a libpq connection string that tell where it leads; none of them where quotes hide word ends.
std::string kept_words(std::string_view text) {
  std::string out;
  if (text.find_first_of("'\\") != std::string_view::npos) return out;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (word.starts_with("host=") || word.starts_with("port=") || word.starts_with("dbname="))
      out += (out.empty() ? "" : " ") + std::string(word);
  }
  return out;
}

}  // namespace

std::string url_problem(std::string_view text) {
  auto problem = [&](std::string_view why) {
    return fmt::format("expected a URL such as http://127.0.0.1:8080/healthz, got {}{}", quote(text), why);
  };
  std::string_view rest = text;
  if (rest.starts_with("http://"))
    rest.remove_prefix(7);
  else if (rest.starts_with("https://"))
    rest.remove_prefix(8);
  else
    return problem(text.find("://") == std::string_view::npos
                       ? ": it starts with neither http:// nor https://"
                       : ": only http and https are spoken");
  if (text.find_first_of(" \t\r\n\"<>") != std::string_view::npos) return problem(": a URL has no spaces");
  auto authority = rest.substr(0, rest.find_first_of("/?#"));
  if (auto at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  const auto [host, port] = split_port(authority);
  if (!is_host(host)) return problem(": the host is missing or malformed");
  if (host.size() != authority.size() && !is_port(port))
    return problem(": a port is a number from 1 to 65535");
  return "";
}

std::string host_port_problem(std::string_view text) {
  auto problem = [&](std::string_view why) {
    return fmt::format("expected host:port such as 127.0.0.1:6379, got {}{}", quote(text), why);
  };
  if (text.find("://") != std::string_view::npos) return problem(": write it without the scheme");
  const auto [host, port] = split_port(text);
  if (host.size() == text.size()) return problem(": the port is missing");
  if (!is_host(host))
    return problem(host.find(':') == std::string_view::npos ? "" : ": an IPv6 address stands in []");
  if (!is_port(port)) return problem(": a port is a number from 1 to 65535");
  return "";
}

std::string address_problem(std::string_view text) {
  in6_addr parsed{};
  const std::string whole{text};
  if (::inet_pton(AF_INET, whole.c_str(), &parsed) == 1 || ::inet_pton(AF_INET6, whole.c_str(), &parsed) == 1)
    return "";
  return fmt::format("expected an IPv4 or IPv6 address such as 10.0.0.7, got {}", quote(text));
}

std::string regex_problem(std::string_view text) {
  if (text.size() > longest_regex)
    return fmt::format("expected a regular expression of at most {} characters, got {}", longest_regex,
                       text.size());
  try {
    std::regex compiled(text.begin(), text.end(), std::regex::ECMAScript);
    return "";
  } catch (const std::regex_error& e) {
    return fmt::format("expected a regular expression, got {}: {}", quote(text), words(e.code()));
  }
}

std::string slug_problem(std::string_view text) {
  const bool fits = !text.empty() && text.size() <= 64 && text.front() != '-' &&
                    std::all_of(text.begin(), text.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                    });
  return fits ? ""
              : fmt::format("expected a name of lower case letters, digits and dashes, at most 64, got {}",
                            quote(text));
}

std::string without_secrets(std::string_view text) {
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos) return kept_words(text);
  auto rest = text.substr(scheme + 3);
  const auto slash = rest.find_first_of("/?#");
  const auto at = rest.substr(0, slash).rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  return std::string(rest.substr(0, rest.find_first_of("?#")));
}

}  // namespace squall
