#include "controller/probes/schedule.hpp"

namespace squall {

std::chrono::nanoseconds Spread::next(std::chrono::nanoseconds every) {
  // Multiples of the golden ratio, modulo 1, are as even as can be for any number of them (Knuth, volume
  // 3, 6.4).
  constexpr std::uint64_t golden = 0x9e3779b97f4a7c15;
  const std::uint64_t fraction = given_[every]++ * golden;
  const double share = static_cast<double>(fraction >> 11) * 0x1p-53;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(share * static_cast<double>(every.count())));
}

std::size_t most_in_flight(std::chrono::nanoseconds every, std::chrono::nanoseconds timeout) {
  return static_cast<std::size_t>(timeout / every) + 2;
}

}  // namespace squall
