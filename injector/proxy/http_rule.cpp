#include "injector/proxy/http_rule.hpp"

#include <algorithm>

#include <fnmatch.h>

#include <fmt/format.h>

namespace squall::proxy {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Of "/a?b" and "http://host/a?b": "/a".
std::string path_of(std::string_view target) {
  target = target.substr(0, target.find('?'));
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && !target.starts_with('/')) {
    const auto path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  return std::string(target);
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string unlike(const HttpRule& rule, std::string_view method, std::string_view target,
                   const std::vector<HttpField>& fields) {
  const auto path = path_of(target);
  const auto request = fmt::format("{} {}", method, path);
  if (!rule.methods.empty() &&
      std::find(rule.methods.begin(), rule.methods.end(), method) == rule.methods.end())
    return request;
  if (!rule.path.empty() && ::fnmatch(rule.path.c_str(), path.c_str(), 0) != 0) return request;
  for (auto& wanted : rule.headers) {
    const HttpField* of_that_name = nullptr;
    bool fits = false;
    for (auto& one : fields) {
      if (!same_name(one.name, wanted.name)) continue;
      of_that_name = &one;
      fits = fits || ::fnmatch(wanted.value.c_str(), one.value.c_str(), 0) == 0;
    }
    // What may be a secret is nobody's business.
    const bool secret = same_name(wanted.name, "Authorization") ||
                        same_name(wanted.name, "Proxy-Authorization") || same_name(wanted.name, "Cookie");
    if (!of_that_name) return fmt::format("{} without {}", request, wanted.name);
    if (!fits)
      return fmt::format("{} with {}: {}", request, wanted.name,
                         secret ? "another value" : of_that_name->value);
  }
  return "";
}

}  // namespace squall::proxy
