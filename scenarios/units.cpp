#include "scenarios/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace squall {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array duration_units{Unit{"ns", 1}, Unit{"us", 1e3}, Unit{"µs", 1e3}, Unit{"ms", 1e6},
                                    Unit{"s", 1e9}, Unit{"m", 60e9}, Unit{"min", 60e9}, Unit{"h", 3600e9},
                                    Unit{"d", 86400e9}};
constexpr std::array size_units{Unit{"B", 1},        Unit{"kB", 1e3},           Unit{"KB", 1e3},
                                Unit{"MB", 1e6},     Unit{"GB", 1e9},           Unit{"TB", 1e12},
                                Unit{"KiB", 1024},   Unit{"MiB", 1048576},      Unit{"GiB", 1073741824},
                                Unit{"TiB", 1099511627776}};
constexpr std::array bit_rate_units{Unit{"bit", 1.0 / 8}, Unit{"kbit", 1e3 / 8}, Unit{"mbit", 1e6 / 8},
                                    Unit{"gbit", 1e9 / 8}};

struct Number {
  double value;
  std::string_view rest;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// A plain decimal number and what follows it; no exponent, no hexadecimal, no infinities.
tl::expected<Number, bool> leading_number(std::string_view text) {
  text = trim(text);
  std::size_t end = 0;
  while (end < text.size() && (std::isdigit(static_cast<unsigned char>(text[end])) || text[end] == '.' ||
                               (end == 0 && text[end] == '-')))
    ++end;
  double value = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + end, value, std::chars_format::fixed);
  if (error != std::errc{} || stop != text.data() + end || end == 0) return tl::unexpected(false);
  return Number{value, trim(text.substr(end))};
}

template <std::size_t N>
std::string names(const std::array<Unit, N>& units) {
  std::string out;
  for (auto& unit : units) {
    if (unit.name == "µs" || unit.name == "KB" || unit.name == "min") continue;
    if (!out.empty()) out += ", ";
    out += unit.name;
  }
  return out;
}

template <std::size_t N>
const Unit* find(const std::array<Unit, N>& units, std::string_view name) {
  for (auto& unit : units)
    if (unit.name == name) return &unit;
  return nullptr;
}

// `what` with an example; a bare number or an unknown unit gets a hint of its own.
template <std::size_t N>
Parsed<double> quantity(std::string_view text, std::string_view what, const std::array<Unit, N>& units,
                        std::string_view example) {
  auto number = leading_number(text);
  if (!number) return tl::unexpected(fmt::format("expected {} such as {}, got \"{}\"", what, example, text));
  if (number->rest.empty())
    return tl::unexpected(fmt::format("expected {} such as {}, got \"{}\": the unit is missing (one of {})", what,
                                      example, trim(text), names(units)));
  auto* unit = find(units, number->rest);
  if (!unit)
    return tl::unexpected(fmt::format("expected {} such as {}, got \"{}\": unknown unit \"{}\" (one of {})", what,
                                      example, trim(text), number->rest, names(units)));
  const double value = number->value * unit->factor;
  if (number->value < 0) return tl::unexpected(fmt::format("expected {} of at least 0, got \"{}\"", what, trim(text)));
  if (value >= 9.2e18) return tl::unexpected(fmt::format("expected {} below 2^63, got \"{}\"", what, trim(text)));
  return value;
}

template <class T, class Make>
Parsed<Comparison<T>> comparison(std::string_view text, Make make, std::string_view example) {
  text = trim(text);
  static constexpr std::array<std::pair<std::string_view, Comparator>, 8> operators{{
      {">=", Comparator::at_least}, {"<=", Comparator::at_most}, {"≥", Comparator::at_least},
      {"≤", Comparator::at_most}, {"==", Comparator::equal}, {">", Comparator::greater}, {"<", Comparator::less},
      {"=", Comparator::equal}}};
  for (auto& [sign, comparator] : operators) {
    if (!text.starts_with(sign)) continue;
    auto bound = make(trim(text.substr(sign.size())));
    if (!bound) return tl::unexpected(bound.error());
    return Comparison<T>{comparator, *bound};
  }
  return tl::unexpected(fmt::format("expected a comparison such as \"{}\", got \"{}\": it starts with one of <, <=, >=, >, ==",
                                    example, text));
}

template <std::size_t N>
std::string shortest(std::int64_t value, const std::array<Unit, N>& units, std::string_view zero) {
  if (value == 0) return std::string(zero);
  std::string best;
  for (auto& unit : units) {
    if (unit.name == "µs" || unit.name == "KB" || unit.name == "min" || unit.name == "d") continue;
    if (std::fmod(static_cast<double>(value), unit.factor) != 0) continue;
    auto text = fmt::format("{}{}", static_cast<std::int64_t>(static_cast<double>(value) / unit.factor), unit.name);
    if (best.empty() || text.size() <= best.size()) best = text;
  }
  return best;
}

}  // namespace

std::int64_t Amount::of(std::int64_t total) const {
  switch (kind) {
    case Kind::number: return std::min(number, total);
    case Kind::share: return static_cast<std::int64_t>(std::ceil(static_cast<double>(total) * share.fraction() - 1e-9));
    case Kind::all: return total;
  }
  return 0;
}

std::string_view symbol(Comparator comparator) {
  switch (comparator) {
    case Comparator::less: return "<";
    case Comparator::at_most: return "<=";
    case Comparator::at_least: return ">=";
    case Comparator::greater: return ">";
    case Comparator::equal: return "==";
  }
  return "?";
}

Parsed<Duration> parse_duration(std::string_view text) {
  if (trim(text) == "0") return Duration{0};  // the only number that needs no unit
  return quantity(text, "a duration", duration_units, "40ms").map([](double ns) {
    return Duration{static_cast<std::int64_t>(std::llround(ns))};
  });
}

Parsed<Size> parse_size(std::string_view text) {
  return quantity(text, "a size", size_units, "4KiB").map([](double bytes) {
    return Size{static_cast<std::int64_t>(std::llround(bytes))};
  });
}

Parsed<Rate> parse_rate(std::string_view text) {
  auto trimmed = trim(text);
  auto number = leading_number(trimmed);
  if (number && find(bit_rate_units, number->rest))
    return quantity(trimmed, "a rate", bit_rate_units, "100mbit").map([](double rate) {
      return Rate{static_cast<std::int64_t>(std::llround(rate))};
    });
  if (number && !number->rest.empty() && !trimmed.ends_with("/s"))
    return tl::unexpected(fmt::format(
        "expected a rate such as 10MiB/s, got \"{}\": a rate is per second, write \"{}/s\"", trimmed, trimmed));
  auto amount = trimmed.ends_with("/s") ? trim(trimmed.substr(0, trimmed.size() - 2)) : trimmed;
  auto parsed = quantity(amount, "a rate", size_units, "10MiB/s");
  if (!parsed) {
    auto message = parsed.error();
    if (auto at = message.find("got \"" + std::string(amount) + "\""); at != std::string::npos && amount != trimmed)
      message.replace(at, amount.size() + 6, "got \"" + std::string(trimmed) + "\"");
    return tl::unexpected(message);
  }
  return Rate{static_cast<std::int64_t>(std::llround(*parsed))};
}

Parsed<Iops> parse_iops(std::string_view text) {
  auto number = leading_number(text);
  if (!number || !(number->rest.empty() || number->rest == "/s" || number->rest == "iops") ||
      number->value != std::floor(number->value) || number->value < 0 || number->value > 1e12)
    return tl::unexpected(fmt::format("expected operations per second such as 50/s, got \"{}\"", trim(text)));
  return Iops{static_cast<std::int64_t>(number->value)};
}

Parsed<Percent> parse_percent(std::string_view text) {
  auto number = leading_number(text);
  if (!number) return tl::unexpected(fmt::format("expected a percentage such as 99.9%, got \"{}\"", trim(text)));
  if (number->rest != "%")
    return tl::unexpected(
        number->rest.empty()
            ? fmt::format("expected a percentage such as 99.9%, got \"{}\": the unit is missing, write \"{}%\"",
                          trim(text), trim(text))
            : fmt::format("expected a percentage such as 99.9%, got \"{}\"", trim(text)));
  if (number->value < 0 || number->value > 100)
    return tl::unexpected(fmt::format("expected a percentage from 0% to 100%, got \"{}\"", trim(text)));
  return Percent{number->value};
}

Parsed<Amount> parse_amount(std::string_view text) {
  text = trim(text);
  if (text == "all") return Amount{Amount::Kind::all, 0, {}};
  if (text.ends_with("%"))
    return parse_percent(text).map([](Percent share) { return Amount{Amount::Kind::share, 0, share}; });
  auto number = leading_number(text);
  if (!number || !number->rest.empty() || number->value < 1 || number->value != std::floor(number->value) ||
      number->value > 1e9)
    return tl::unexpected(fmt::format("expected a number of at least 1, a share such as 50%, or all, got \"{}\"", text));
  return Amount{Amount::Kind::number, static_cast<std::int64_t>(number->value), {}};
}

Parsed<Comparison<Duration>> parse_duration_comparison(std::string_view text) {
  return comparison<Duration>(text, parse_duration, "<= 400ms");
}

Parsed<Comparison<Percent>> parse_percent_comparison(std::string_view text) {
  return comparison<Percent>(text, parse_percent, ">= 99%");
}

std::string to_string(Duration d) { return shortest(d.ns, duration_units, "0s"); }
std::string to_string(Size s) { return shortest(s.bytes, size_units, "0B"); }
std::string to_string(Rate r) { return shortest(r.bytes_per_second, size_units, "0B") + "/s"; }
std::string to_string(Iops i) { return fmt::format("{}/s", i.per_second); }
std::string to_string(Percent p) { return fmt::format("{}%", p.value); }
std::string to_string(const Amount& a) {
  switch (a.kind) {
    case Amount::Kind::number: return std::to_string(a.number);
    case Amount::Kind::share: return to_string(a.share);
    case Amount::Kind::all: return "all";
  }
  return "?";
}

}  // namespace squall
