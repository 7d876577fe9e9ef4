#include "controller/alerts/fingerprint.hpp"

#include <cstdint>

#include <fmt/format.h>

namespace squall {

std::string fingerprint(const std::map<std::string, std::string>& labels) {
  std::uint64_t hash = 14695981039346656037ULL;
  auto add = [&hash](const std::string& text) {
    for (unsigned char c : text)
      hash = (hash ^ c) * 1099511628211ULL;
    hash = (hash ^ 0xff) * 1099511628211ULL;
  };
  for (auto& [name, value] : labels) {
    add(name);
    add(value);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace squall
