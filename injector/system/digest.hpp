// A short fingerprint for comparing two states of one thing; not for security.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace squall {

// FNV-1a, 64 bits.
class Digest {
 public:
  void add(std::span<const std::byte> bytes) {
    for (auto byte : bytes) {
      state_ ^= static_cast<std::uint8_t>(byte);
      state_ *= 0x100000001b3ULL;
    }
  }
  void add(std::string_view text) {
    add(std::as_bytes(std::span(text)));
    add(std::as_bytes(std::span("\0", 1)));  // "ab" + "c" is not "a" + "bc"
  }
  std::string text() const { return fmt::format("{:016x}", state_).substr(0, 8); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

}  // namespace squall
