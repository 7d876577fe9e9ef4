#include "tests/stack/metrics.hpp"

#include <array>

#include <fmt/format.h>

namespace squall::stack {
namespace {

constexpr std::array bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                            0.15,   0.25,  0.5,    0.75,  1.0,  2.5,   5.0,  10.0,  30.0};

void print_head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  if (out.find(fmt::format("# TYPE {} ", name)) != std::string::npos) return;
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

void Counter::add(const std::string& labels, std::uint64_t count) {
  std::lock_guard lock(mutex_);
  counts_[labels] += count;
}

void Counter::print(std::string& out) const {
  print_head(out, name_, help_, "counter");
  std::lock_guard lock(mutex_);
  for (auto& [labels, count] : counts_)
    out += fmt::format("{}{{{}}} {}\n", name_, labels, count);
}

Histogram::Histogram(std::string name, std::string help, std::string labels)
    : name_(std::move(name)),
      help_(std::move(help)),
      labels_(std::move(labels)),
      counts_(bounds.size() + 1) {}

void Histogram::observe(double seconds) {
  std::size_t bucket = 0;
  while (bucket < bounds.size() && seconds > bounds[bucket])
    ++bucket;
  ++counts_[bucket];
  sum_.fetch_add(seconds);
}

void Histogram::print(std::string& out) const {
  print_head(out, name_, help_, "histogram");
  const auto comma = labels_.empty() ? "" : ",";
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    const auto bound = i < bounds.size() ? fmt::format("{}", bounds[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name_, labels_, comma, bound, total);
  }
  out +=
      fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name_, labels_, sum_.load(), name_, labels_, total);
}

void print_gauge(std::string& out, std::string_view name, std::string_view help, double value) {
  print_head(out, name, help, "gauge");
  out += fmt::format("{} {}\n", name, value);
}

}  // namespace squall::stack
