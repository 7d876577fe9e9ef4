// Strong units: every quantity a person writes carries its unit, and the type remembers it.
// Ranges: a duration is 1 ns to 292 years, sizes and rates are up to 2^63-1, a percentage is 0 to 100.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace squall {

// A parsed value, or what was expected instead ("expected a duration such as 40ms, got \"40\": …").
template <class T>
using Parsed = tl::expected<T, std::string>;

// A span of time, kept in nanoseconds. Written 250us, 40ms, 1.5s, 2m, 1h.
struct Duration {
  std::int64_t ns = 0;
  constexpr auto operator<=>(const Duration&) const = default;
  constexpr double seconds() const { return static_cast<double>(ns) / 1e9; }
  constexpr double milliseconds() const { return static_cast<double>(ns) / 1e6; }
  constexpr std::chrono::nanoseconds chrono() const { return std::chrono::nanoseconds{ns}; }
  static constexpr Duration of(std::chrono::nanoseconds d) { return {d.count()}; }
};

// A number of bytes. Written 512B, 4KiB, 10MB.
struct Size {
  std::int64_t bytes = 0;
  constexpr auto operator<=>(const Size&) const = default;
};

// Bytes per second. Written 10MiB/s, 500kB/s, or in network units 100mbit, 1gbit.
struct Rate {
  std::int64_t bytes_per_second = 0;
  constexpr auto operator<=>(const Rate&) const = default;
};

// Operations per second. Written 50/s or 50iops; the parameters' names say "iops", so 50 alone is clear too.
struct Iops {
  std::int64_t per_second = 0;
  constexpr auto operator<=>(const Iops&) const = default;
};

// A share of a whole, 0 to 100. Written 99.9%.
struct Percent {
  double value = 0;
  constexpr auto operator<=>(const Percent&) const = default;
  constexpr double fraction() const { return value / 100; }
};

// An amount of things: a number, a share of them, or all. Written 2, 50%, all.
struct Amount {
  enum class Kind { number, share, all } kind = Kind::number;
  std::int64_t number = 1;
  Percent share;
  static Amount all() { return {.kind = Kind::all, .number = 0, .share = {}}; }
  bool operator==(const Amount&) const = default;
  // How many of `total` this means; a share is rounded up, so that it is never none of some.
  std::int64_t of(std::int64_t total) const;
};

enum class Comparator { less, at_most, at_least, greater, equal };
std::string_view symbol(Comparator);

// A bound somebody expects: ">= 99%", "<= 400ms".
template <class T>
struct Comparison {
  Comparator comparator = Comparator::at_least;
  T bound{};
  bool operator==(const Comparison&) const = default;
  template <class U>
  bool holds(U value, U limit) const {
    switch (comparator) {
      case Comparator::less:
        return value < limit;
      case Comparator::at_most:
        return value <= limit;
      case Comparator::at_least:
        return value >= limit;
      case Comparator::greater:
        return value > limit;
      case Comparator::equal:
        return value == limit;
    }
    return false;
  }
};

Parsed<Duration> parse_duration(std::string_view);
Parsed<Size> parse_size(std::string_view);
Parsed<Rate> parse_rate(std::string_view);
Parsed<Iops> parse_iops(std::string_view);
Parsed<Percent> parse_percent(std::string_view);
Parsed<Amount> parse_amount(std::string_view);
Parsed<Comparison<Duration>> parse_duration_comparison(std::string_view);
Parsed<Comparison<Percent>> parse_percent_comparison(std::string_view);

// The shortest text that parses back to the same value.
std::string to_string(Duration);
std::string to_string(Size);
std::string to_string(Rate);
std::string to_string(Iops);
std::string to_string(Percent);
std::string to_string(const Amount&);
template <class T>
std::string to_string(const Comparison<T>& c) {
  return std::string(symbol(c.comparator)) + " " + to_string(c.bound);
}

}  // namespace squall
