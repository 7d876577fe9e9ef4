#include "injector/host/connections/went_by.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace squall {
namespace {

constexpr std::size_t most = 64, longest = 80, told = 5;

std::string readable(std::string_view text) {
  std::string out{text.substr(0, longest)};
  std::replace_if(out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return text.size() > longest ? out + "…" : out;
}

using Counted = std::pair<std::string, std::uint64_t>;

std::vector<Counted> most_frequent(const std::map<std::string, std::uint64_t, std::less<>>& known) {
  std::vector<Counted> all{known.begin(), known.end()};
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.second > b.second; });
  return all;
}

}  // namespace

void WentBy::add(std::string_view what, std::uint64_t times) {
  const auto key = readable(what);
  const std::lock_guard lock{mutex_};
  if (const auto there = known_.find(key); there != known_.end())
    there->second += times;
  else if (known_.size() < most)
    known_.emplace(key, times);
  else
    others_ += times;
}

std::string WentBy::to_string() const {
  const std::lock_guard lock{mutex_};
  const auto all = most_frequent(known_);
  std::vector<std::string> parts;
  auto others = others_;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i < told)
      parts.push_back(
          fmt::format("{} ({} time{})", all[i].first, all[i].second, all[i].second == 1 ? "" : "s"));
    else
      others += all[i].second;
  }
  return fmt::format("{}{}", fmt::join(parts, ", "), others ? fmt::format(" and {} others", others) : "");
}

std::string WentBy::first() const {
  const std::lock_guard lock{mutex_};
  const auto all = most_frequent(known_);
  return all.empty() ? "" : all.front().first;
}

}  // namespace squall
