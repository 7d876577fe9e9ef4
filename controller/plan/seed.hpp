// Everything that is chosen derives from the run's seed, the same on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace squall {

// SplitMix64 (Steele, Lea, Flood 2014): one well-mixed number from each state.
std::uint64_t mix(std::uint64_t& state);
// A seed of its own for what the text names.
std::uint64_t derive(std::uint64_t seed, std::string_view text);
// `count` of them in an order by chance (Fisher-Yates); all where there are no more.
std::vector<std::string> draw(std::vector<std::string> from, std::size_t count, std::uint64_t seed);

}  // namespace squall
