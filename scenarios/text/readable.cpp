#include "scenarios/text/readable.hpp"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace squall {

ReadableSize readable(double bytes, Size beside) {
  static constexpr std::array<std::string_view, 5> decimal{"B", "kB", "MB", "GB", "TB"},
      binary{"B", "KiB", "MiB", "GiB", "TiB"};
  const bool is_binary = to_string(beside).ends_with("iB");
  const double step = is_binary ? 1024 : 1000;
  std::size_t at = 0;
  for (; std::abs(bytes) >= step && at + 1 < decimal.size(); ++at)
    bytes /= step;
  return {bytes, (is_binary ? binary : decimal)[at]};
}

std::string readable(double bytes_per_second, Rate beside) {
  const auto [value, unit] = readable(bytes_per_second, Size{beside.bytes_per_second});
  return fmt::format("{:.4g} {}/s", value, unit);
}

}  // namespace squall
