// What is judged while a drill runs: the sliding windows behind halt conditions. Pure: the caller brings the
// time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/record/record.hpp"
#include "scenarios/model/scenario.hpp"

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
  double availability(std::int64_t more_bad = 0) const;  // 0 to 1; 1 where there is no sample
  // Over answers and timeouts, as in reports, and over those that have waited so long; 0 where there is none.
  double latency_ms(double q, const std::vector<double>& waited_ms = {}) const;

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

// A question that nobody has answered yet.
struct Unanswered {
  std::string service, probe;
  std::int64_t due_ns = 0;
};

// Every halt condition of a scenario, fed with the samples as they come. A service halts by each of its
// probes alone.
class LiveWindows {
 public:
  explicit LiveWindows(const std::vector<HaltCondition>&);
  void add(const std::string& service, const std::string& probe, const ProbeSample&);
  // Why the drill must halt now, or "". A condition speaks once its window is full and holds at least three
  // samples, so that the first unlucky probe halts nothing. What has waited for as long as the window counts
  // as bad without an answer.
  std::string reason(std::int64_t now_t, const std::vector<Unanswered>& waiting = {});
  // Nothing was seen for a while: the windows begin anew.
  void forget();

 private:
  struct Watched {
    HaltCondition condition;
    std::map<std::string, SlidingWindow> windows;  // by probe
  };
  static std::string reason(const HaltCondition&, const std::string& probe, SlidingWindow&,
                            std::int64_t now_t, const std::vector<Unanswered>&);
  std::vector<Watched> watched_;
};

}  // namespace squall
