// Counters and histograms in Prometheus' text format.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace squall::stack {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A count for each set of labels, which are written as they are printed: route="read",code="200".
class Counter {
 public:
  Counter(std::string name, std::string help) : name_(std::move(name)), help_(std::move(help)) {}
  void add(const std::string& labels, std::uint64_t count = 1);
  void print(std::string& out) const;

 private:
  std::string name_, help_;
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> counts_;
};

// Times, in buckets from 0.5 ms to 30 s.
class Histogram {
 public:
  Histogram(std::string name, std::string help, std::string labels = "");
  void observe(double seconds);
  void print(std::string& out) const;

 private:
  std::string name_, help_, labels_;
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

void print_gauge(std::string& out, std::string_view name, std::string_view help, double value);

}  // namespace squall::stack
