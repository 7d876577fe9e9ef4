#include "injector/proxy/http_rule.hpp"

#include <algorithm>

#include <fnmatch.h>

namespace squall::proxy {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

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
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool matches(const HttpRule& rule, std::string_view method, std::string_view target, const std::vector<HttpField>& fields) {
  if (!rule.methods.empty() && std::find(rule.methods.begin(), rule.methods.end(), method) == rule.methods.end()) return false;
  if (!rule.path.empty() && ::fnmatch(rule.path.c_str(), path_of(target).c_str(), 0) != 0) return false;
  return std::all_of(rule.headers.begin(), rule.headers.end(), [&](const HttpField& wanted) {
    return std::any_of(fields.begin(), fields.end(), [&](const HttpField& one) {
      return same_name(one.name, wanted.name) && ::fnmatch(wanted.value.c_str(), one.value.c_str(), 0) == 0;
    });
  });
}

}  // namespace squall::proxy
