#include "scenarios/text/units.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "scenarios/text/diagnostics.hpp"

namespace squall {
namespace {

// Wide enough for every product below, so that no quantity loses a digit on its way.
__extension__ using Wide = __int128;

// `numerator / denominator` of the base unit; the names that are only understood, not written, come last.
struct Unit {
  std::string_view name;
  std::int64_t numerator;
  std::int64_t denominator = 1;
  bool written = true;
};

constexpr std::array duration_units{Unit{"ns", 1},
                                    Unit{"us", 1'000},
                                    Unit{"ms", 1'000'000},
                                    Unit{"s", 1'000'000'000},
                                    Unit{"m", 60'000'000'000},
                                    Unit{"h", 3'600'000'000'000},
                                    Unit{"d", 86'400'000'000'000},
                                    Unit{"min", 60'000'000'000, 1, false},
                                    Unit{"µs", 1'000, 1, false}};
constexpr std::array size_units{Unit{"B", 1},
                                Unit{"kB", 1'000},
                                Unit{"MB", 1'000'000},
                                Unit{"GB", 1'000'000'000},
                                Unit{"TB", 1'000'000'000'000},
                                Unit{"KiB", 1LL << 10},
                                Unit{"MiB", 1LL << 20},
                                Unit{"GiB", 1LL << 30},
                                Unit{"TiB", 1LL << 40},
                                Unit{"KB", 1'000, 1, false},
                                Unit{"kiB", 1LL << 10, 1, false}};
constexpr std::array bit_rate_units{Unit{"bit", 1, 8}, Unit{"kbit", 125}, Unit{"mbit", 125'000},
                                    Unit{"gbit", 125'000'000}};

// A plain decimal number, digits / scale, and what follows it.
struct Number {
  std::string_view text;
  Wide digits = 0;
  Wide scale = 1;
  bool negative = false;
  std::string_view rest;

  // A number of things, where it is one.
  std::optional<std::int64_t> count() const {
    constexpr Wide most = 1'000'000'000'000;
    if (negative || digits % scale != 0 || digits / scale > most) return std::nullopt;
    return static_cast<std::int64_t>(digits / scale);
  }
  double value() const {
    double out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out, std::chars_format::fixed);
    return out;
  }
};

// More than any quantity has; times the largest unit it is still within Wide.
constexpr Wide enough_digits = Wide{1'000'000'000'000'000'000} * 100'000;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

// Digits, perhaps with a point between them; no exponent, no hexadecimal, no infinities.
std::optional<Number> leading_number(std::string_view text) {
  text = trim(text);
  Number number;
  std::size_t at = text.starts_with('-') ? 1 : 0;
  number.negative = at == 1;
  auto is_digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  auto take = [&](bool fraction) {
    for (; is_digit(at); ++at) {
      if (fraction && std::max(number.digits, number.scale) >= enough_digits)
        continue;  // too far behind the point
      number.digits = std::min(number.digits * 10 + (text[at] - '0'), enough_digits * 10);
      if (fraction) number.scale *= 10;
    }
  };
  if (!is_digit(at)) return std::nullopt;
  take(false);
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!is_digit(at)) return std::nullopt;
    take(true);
  }
  number.text = text.substr(0, at);
  number.rest = trim(text.substr(at));
  return number;
}

template <std::size_t N>
std::string names(const std::array<Unit, N>& units) {
  std::string out;
  for (auto& unit : units)
    if (unit.written) out += (out.empty() ? "" : ", ") + std::string(unit.name);
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// Where a unit of this name is written with other capitals: `, write "10MB"`.
template <std::size_t N>
std::string other_capitals(const Number& number, const std::array<Unit, N>& units, std::string_view behind) {
  for (auto& unit : units)
    if (unit.written && lower(unit.name) == lower(number.rest))
      return fmt::format(", write \"{}{}{}\"", number.text, unit.name, behind);
  return "";
}

// How a rate is written that says bits or bytes a second in other words, as Mbit/s, Mbps, kb/s and MBps do;
// "" where it does not.
std::string in_our_words(const Number& number) {
  auto unit = number.rest;
  const bool per_second = unit.ends_with("/s") || unit.ends_with("ps");
  if (per_second) unit = trim(unit.substr(0, unit.size() - 2));
  auto prefix = lower(unit.substr(0, 1));
  const bool prefixed = unit.size() > 1 && (prefix == "k" || prefix == "m" || prefix == "g");
  if (!prefixed) prefix.clear();
  const auto rest = unit.substr(prefix.size());
  const auto bits = fmt::format("\"{}{}bit\"", number.text, prefix),
             bytes = fmt::format("\"{}{}B/s\"", number.text,
                                 prefix == "m"   ? "M"
                                 : prefix == "g" ? "G"
                                                 : prefix);
  if (lower(rest) == "bit" || lower(rest) == "bits") return bits;
  if (per_second && rest == "b") return fmt::format("{} for bits, {} for bytes", bits, bytes);
  return per_second && rest == "B" ? bytes : "";
}

template <std::size_t N>
const Unit* find(const std::array<Unit, N>& units, std::string_view name) {
  for (auto& unit : units)
    if (unit.name == name) return &unit;
  return nullptr;
}

// `shown` is what messages quote, where it is more than the quantity itself.
template <std::size_t N>
Parsed<std::int64_t> quantity(std::string_view text, std::string_view what, const std::array<Unit, N>& units,
                              std::string_view example, std::string_view shown) {
  auto problem = [&](std::string why) {
    return tl::unexpected(
        fmt::format("expected {} such as {}, got {}{}", what, example, quote(trim(shown)), why));
  };
  const auto number = leading_number(text);
  if (!number) return problem("");
  if (number->rest.empty()) return problem(fmt::format(": the unit is missing (one of {})", names(units)));
  const auto* unit = find(units, number->rest);
  if (!unit)
    return problem(fmt::format(": unknown unit {} (one of {}){}", quote(number->rest), names(units),
                               other_capitals(*number, units, shown.substr(text.size()))));
  if (number->negative) return problem(": it is below 0");
  const Wide divisor = number->scale * unit->denominator;
  const Wide value = (number->digits * unit->numerator + divisor / 2) / divisor;
  if (value > std::numeric_limits<std::int64_t>::max()) return problem(": it is too large");
  if (value == 0 && number->digits > 0) return problem(": it is too small");
  return static_cast<std::int64_t>(value);
}

template <class T, class Make>
Parsed<Comparison<T>> comparison(std::string_view text, Make make, std::string_view example) {
  text = trim(text);
  static constexpr std::array<std::pair<std::string_view, Comparator>, 8> operators{
      {{">=", Comparator::at_least},
       {"<=", Comparator::at_most},
       {"≥", Comparator::at_least},
       {"≤", Comparator::at_most},
       {"==", Comparator::equal},
       {">", Comparator::greater},
       {"<", Comparator::less},
       {"=", Comparator::equal}}};
  for (auto& [sign, comparator] : operators) {
    if (!text.starts_with(sign)) continue;
    auto bound = make(trim(text.substr(sign.size())));
    if (!bound) return tl::unexpected(bound.error());
    return Comparison<T>{comparator, *bound};
  }
  return tl::unexpected(fmt::format(
      "expected a comparison such as \"{}\", got {}: it starts with one of <, <=, >=, >, ==", example,
      quote(text)));
}

template <std::size_t N>
std::string shortest(std::int64_t value, const std::array<Unit, N>& units, std::string_view zero) {
  if (value == 0) return std::string(zero);
  std::string best;
  for (auto& unit : units) {
    if (!unit.written || value % unit.numerator != 0) continue;
    auto text = fmt::format("{}{}", value / unit.numerator, unit.name);
    if (best.empty() || text.size() <= best.size()) best = std::move(text);
  }
  return best;
}

}  // namespace

std::int64_t Amount::of(std::int64_t total) const {
  switch (kind) {
    case Kind::number:
      return std::min(number, total);
    case Kind::share:
      return static_cast<std::int64_t>(std::ceil(static_cast<double>(total) * share.fraction() - 1e-9));
    case Kind::all:
      return total;
  }
  return 0;
}

std::string_view symbol(Comparator comparator) {
  switch (comparator) {
    case Comparator::less:
      return "<";
    case Comparator::at_most:
      return "<=";
    case Comparator::at_least:
      return ">=";
    case Comparator::greater:
      return ">";
    case Comparator::equal:
      return "==";
  }
  return "?";
}

Parsed<Duration> parse_duration(std::string_view text) {
  if (trim(text) == "0") return Duration{0};  // the only number that needs no unit
  return quantity(text, "a duration", duration_units, "40ms", text).map([](std::int64_t ns) {
    return Duration{ns};
  });
}

Parsed<Size> parse_size(std::string_view text) {
  return quantity(text, "a size", size_units, "4KiB", text).map([](std::int64_t bytes) {
    return Size{bytes};
  });
}

Parsed<Rate> parse_rate(std::string_view text) {
  const auto trimmed = trim(text);
  const auto rate = [](std::int64_t bytes) { return Rate{bytes}; };
  const auto number = leading_number(trimmed);
  if (number && find(bit_rate_units, number->rest))
    return quantity(trimmed, "a rate", bit_rate_units, "100mbit", trimmed).map(rate);
  const auto known = trimmed.ends_with("/s") && number &&
                     find(size_units, trim(number->rest.substr(0, number->rest.size() - 2)));
  if (const auto ours = number && !known ? in_our_words(*number) : ""; !ours.empty())
    return tl::unexpected(
        fmt::format("expected a rate such as 10MiB/s or 100mbit, got {}: unknown unit {}, write {}",
                    quote(trimmed), quote(number->rest), ours));
  if (trimmed.ends_with("/s"))
    return quantity(trimmed.substr(0, trimmed.size() - 2), "a rate", size_units, "10MiB/s", trimmed)
        .map(rate);
  if (number && find(size_units, number->rest))
    return tl::unexpected(
        fmt::format("expected a rate such as 10MiB/s, got {}: a rate is per second, write \"{}/s\"",
                    quote(trimmed), trimmed));
  if (number)
    return tl::unexpected(fmt::format(
        "expected a rate such as 10MiB/s or 100mbit, got {}: {}", quote(trimmed),
        number->rest.empty() ? "the unit is missing" : fmt::format("unknown unit {}", quote(number->rest))));
  return tl::unexpected(fmt::format("expected a rate such as 10MiB/s or 100mbit, got {}", quote(trimmed)));
}

Parsed<Iops> parse_iops(std::string_view text) {
  const auto number = leading_number(text);
  if (!number || !(number->rest.empty() || number->rest == "/s" || number->rest == "iops") ||
      !number->count())
    return tl::unexpected(
        fmt::format("expected operations per second such as 50/s, got {}", quote(trim(text))));
  return Iops{*number->count()};
}

Parsed<Percent> parse_percent(std::string_view text) {
  auto problem = [&](std::string why) {
    return tl::unexpected(
        fmt::format("expected a percentage such as 99.9%, got {}{}", quote(trim(text)), why));
  };
  const auto number = leading_number(text);
  if (!number) return problem("");
  if (number->rest.empty()) return problem(fmt::format(": the unit is missing, write \"{}%\"", number->text));
  if (number->rest != "%") return problem("");
  if (number->negative || number->value() > 100) return problem(": it lies from 0% to 100%");
  return Percent{number->value()};
}

Parsed<Amount> parse_amount(std::string_view text) {
  text = trim(text);
  if (text == "all") return Amount{Amount::Kind::all, 0, {}};
  if (text.ends_with("%"))
    return parse_percent(text).map([](Percent share) { return Amount{Amount::Kind::share, 0, share}; });
  const auto number = leading_number(text);
  if (!number || !number->rest.empty() || number->count().value_or(0) < 1)
    return tl::unexpected(
        fmt::format("expected a number of at least 1, a share such as 50%, or all, got {}", quote(text)));
  return Amount{Amount::Kind::number, *number->count(), {}};
}

Parsed<Comparison<Duration>> parse_duration_comparison(std::string_view text) {
  return comparison<Duration>(text, parse_duration, "<= 400ms");
}

Parsed<Comparison<Percent>> parse_percent_comparison(std::string_view text) {
  return comparison<Percent>(text, parse_percent, ">= 99%");
}

std::string to_string(Duration d) {
  return shortest(d.ns, duration_units, "0s");
}
std::string to_string(Size s) {
  return shortest(s.bytes, size_units, "0B");
}
std::string to_string(Rate r) {
  return shortest(r.bytes_per_second, size_units, "0B") + "/s";
}
std::string to_string(Iops i) {
  return fmt::format("{}/s", i.per_second);
}
std::string to_string(Percent p) {
  return fmt::format("{}%", p.value);
}
std::string to_string(const Amount& a) {
  switch (a.kind) {
    case Amount::Kind::number:
      return std::to_string(a.number);
    case Amount::Kind::share:
      return to_string(a.share);
    case Amount::Kind::all:
      return "all";
  }
  return "?";
}

}  // namespace squall
