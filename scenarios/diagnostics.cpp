#include "scenarios/diagnostics.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::size_t longest_shown_line = 160;

std::string line_of(std::string_view text, int line) {
  std::size_t begin = 0;
  for (int at = 1; at < line; ++at) {
    begin = text.find('\n', begin);
    if (begin == std::string_view::npos) return "";
    ++begin;
  }
  auto shown = text.substr(begin, text.find('\n', begin) - begin);
  if (!shown.empty() && shown.back() == '\r') shown.remove_suffix(1);
  std::string clean;
  for (char c : shown.substr(0, longest_shown_line))
    clean += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return clean;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Diagnostics::Diagnostics(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {}

void Diagnostics::error(Place place, std::string message) { errors_.push_back({place, std::move(message)}); }

std::string Diagnostics::render() const {
  auto sorted = errors_;
  std::stable_sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) {
    return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
  });
  std::string out;
  for (auto& [place, message] : sorted) {
    if (place.line == 0) {
      out += name_.empty() ? fmt::format("error: {}\n", message) : fmt::format("{}: error: {}\n", name_, message);
      continue;
    }
    out += fmt::format("{}:{}:{}: error: {}\n", name_, place.line, place.column, message);
    const auto line = line_of(text_, place.line);
    if (line.empty()) continue;
    out += fmt::format("    {}\n", line);
    if (static_cast<std::size_t>(place.column) <= line.size() + 1)
      out += fmt::format("    {}^\n", std::string(static_cast<std::size_t>(std::max(place.column - 1, 0)), ' '));
  }
  return out;
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, name.size() / 3) + 1;
  for (auto& candidate : candidates) {
    const auto d = distance(name, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace squall
