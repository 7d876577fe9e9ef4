// What is judged while a drill runs: the sliding windows behind halt conditions. Pure: the caller brings the time.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "reports/record.hpp"
#include "scenarios/scenario.hpp"

namespace squall {

// The answers of the last `over`, by when they came.
class SlidingWindow {
 public:
  explicit SlidingWindow(Duration over) : over_ns_(over.ns) {}
  void add(const ProbeSample&);
  // Forgets what is older than the window that ends now.
  void advance(std::int64_t now_t);
  // True once samples have come for the whole length of the window.
  bool full(std::int64_t now_t) const;
  std::int64_t probes() const { return static_cast<std::int64_t>(samples_.size()); }
  std::int64_t ok() const { return ok_; }
  double availability() const;         // 0 to 1; 1 where there is no sample
  double latency_ms(double q) const;   // over answers and timeouts, as in reports; 0 where there is none

 private:
  struct Answer {
    std::int64_t t = 0;
    double latency_ms = 0;
    bool ok = false, timed = false;
  };
  std::int64_t over_ns_;
  std::deque<Answer> samples_;
  std::int64_t ok_ = 0;
  std::optional<std::int64_t> first_t_;
};

// Every halt condition of a scenario, fed with the samples as they come.
class LiveWindows {
 public:
  explicit LiveWindows(const std::vector<HaltCondition>&);
  void add(const std::string& service, const ProbeSample&);
  // Why the drill must halt now, or "". A condition speaks once its window is full and holds at least three samples, so
  // that the first unlucky probe halts nothing.
  std::string reason(std::int64_t now_t);

 private:
  struct Watched {
    HaltCondition condition;
    SlidingWindow window;
  };
  std::vector<Watched> watched_;
};

}  // namespace squall
