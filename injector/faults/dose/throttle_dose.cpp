#include "injector/faults/dose/throttle_dose.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace squall::faults {
namespace {

constexpr double shortest_window = 0.5, longest_window = 10, bursts_in_window = 3;
constexpr double least_share = 0.5, most_share = 1.25;

Work operator-(Work a, Work b) {
  return {a.bytes - b.bytes, a.operations - b.operations};
}

void add_window(WindowSum& sum, double seconds, Work work) {
  ++sum.windows;
  sum.seconds += seconds;
  sum.work.bytes += work.bytes;
  sum.work.operations += work.operations;
}

}  // namespace

double ThrottleWindows::seconds_at_limit(Work work) const {
  double seconds = 0;
  if (limits_.bytes) seconds = static_cast<double>(work.bytes) / static_cast<double>(*limits_.bytes);
  if (limits_.operations)
    seconds =
        std::max(seconds, static_cast<double>(work.operations) / static_cast<double>(*limits_.operations));
  return seconds;
}

void ThrottleWindows::add(double seconds, Work so_far) {
  if (finished_) return;
  if (!started_) {
    started_ = true;
    first_ = last_ = opened_ = seconds;
    first_work_ = last_work_ = opened_work_ = so_far;
    return;
  }
  burst_ = std::max(burst_, seconds_at_limit(so_far - last_work_));
  last_ = seconds;
  last_work_ = so_far;
  auto length = last_ - opened_;
  if (length >= longest_window || (length >= shortest_window && length >= bursts_in_window * burst_)) close();
}

void ThrottleWindows::finish() {
  if (!finished_ && last_ - opened_ >= shortest_window) close();
  finished_ = true;
}

void ThrottleWindows::close() {
  auto length = last_ - opened_;
  auto work = last_work_ - opened_work_;
  auto done = seconds_at_limit(work);
  add_window(all_, length, work);
  if (done > most_share * length + std::min(burst_, length / 2))
    add_window(over_, length, work);
  else if (done >= least_share * length)
    add_window(at_limit_, length, work);
  opened_ = last_;
  opened_work_ = last_work_;
  burst_ /= 2;  // the next ones are likely to be alike
}

bool ThrottleWindows::reached() const {
  return (at_limit_.windows >= 2 || at_limit_.seconds >= 2) && at_limit_.seconds > over_.seconds;
}

}  // namespace squall::faults
