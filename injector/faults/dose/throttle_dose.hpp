// Whether an I/O limit was felt: from the work that was done over time, told apart into windows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace squall::faults {

// What was done on the device so far, monotonic.
struct Work {
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;
};

// Per second; at least one is set.
struct WorkLimits {
  std::optional<std::uint64_t> bytes, operations;
};

// What a number of windows add up to.
struct WindowSum {
  std::uint64_t windows = 0;
  double seconds = 0;
  Work work;
  double bytes_per_second() const { return seconds > 0 ? static_cast<double>(work.bytes) / seconds : 0; }
  double operations_per_second() const {
    return seconds > 0 ? static_cast<double>(work.operations) / seconds : 0;
  }
};

// Watches one direction (reads or writes) of one limited cgroup. A window is at least half a second, and
// three times as long as the limit makes the largest burst in it last: the kernel lets a bio of 8 MiB pass
// whole and then holds the next for as long as the limit asks. A window is at its limit where 0.5 to 1.25 of
// what the limit allows was done (and one burst, whose place in the window is chance).
class ThrottleWindows {
 public:
  explicit ThrottleWindows(WorkLimits limits) : limits_(limits) {}
  void restart() { *this = ThrottleWindows(limits_); }
  // Samples in the order of their time; the first one is the start.
  void add(double seconds, Work so_far);
  // Judges what the open window has, where it is long enough; nothing is added any more.
  void finish();

  const WindowSum& all() const { return all_; }
  const WindowSum& at_limit() const { return at_limit_; }
  const WindowSum& over() const { return over_; }
  Work work() const {
    return {last_work_.bytes - first_work_.bytes, last_work_.operations - first_work_.operations};
  }
  double seconds() const { return last_ - first_; }
  // The limit was felt: at least two windows, or two seconds, and more time at the limit than over it.
  bool reached() const;

 private:
  void close();
  double seconds_at_limit(Work) const;  // how long the limit makes this much work last

  WorkLimits limits_;
  bool started_ = false, finished_ = false;
  double first_ = 0, last_ = 0, opened_ = 0, burst_ = 0;
  Work first_work_, last_work_, opened_work_;
  WindowSum all_, at_limit_, over_;
};

}  // namespace squall::faults
