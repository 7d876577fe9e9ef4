#include "controller/plan/seed.hpp"

#include <algorithm>
#include <utility>

namespace squall {

std::uint64_t mix(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t derive(std::uint64_t seed, std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325 ^ seed;  // FNV-1a
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3;
  return mix(hash);
}

std::vector<std::string> draw(std::vector<std::string> from, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = 0; i + 1 < from.size(); ++i)
    std::swap(from[i], from[i + mix(seed) % (from.size() - i)]);
  from.resize(std::min(count, from.size()));
  return from;
}

}  // namespace squall
