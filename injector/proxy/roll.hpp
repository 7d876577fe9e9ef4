// Chance that does not depend on what else happens: the same for the same seed, connection and name, whenever
// it is asked.
#pragma once

#include <cstdint>
#include <string_view>

namespace squall::proxy {

// Uniform in [0, 1).
inline double roll(std::uint64_t seed, std::uint64_t connection, std::string_view name) {
  std::uint64_t x = seed ^ (connection * 0x9e3779b97f4a7c15U);
  for (unsigned char c : name)
    x = (x ^ c) * 0x100000001b3U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;  // splitmix64
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

}  // namespace squall::proxy
