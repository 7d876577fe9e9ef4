#include "scenarios/schema/times.hpp"

#include <ctime>

#include <fmt/format.h>

namespace squall {

std::string rfc3339(std::int64_t wall_ns) {
  constexpr std::int64_t second = 1'000'000'000;
  const auto past = (wall_ns % second + second) % second;
  const auto whole = static_cast<std::time_t>((wall_ns - past) / second);
  std::tm utc{};
  ::gmtime_r(&whole, &utc);
  char out[40];
  std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", out, past / 1'000'000);
}

}  // namespace squall
