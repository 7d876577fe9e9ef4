// Figures beside those that a person wrote, in the same units.
#pragma once

#include <string>
#include <string_view>

#include "scenarios/text/units.hpp"

namespace squall {

// In the system of units that `beside` is round in: 499,900 bytes are 499.9 kB beside 500kB, 488.2 KiB beside
// 64KiB.
struct ReadableSize {
  double value = 0;
  std::string_view unit;
};
ReadableSize readable(double bytes, Size beside);
std::string readable(double bytes_per_second, Rate beside);  // "499.9 kB/s"

}  // namespace squall
