// Whether squall itself was there: a process that is stopped (Ctrl-Z), starved, or asleep with its host sends
// no probes and hears no answers, and must not take its own silence for that of others.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "reports/record/record.hpp"

namespace squall {

// Two clocks at one moment, in nanoseconds: one that stops while the host sleeps, and one that does not.
struct Moment {
  std::int64_t awake_ns = 0;  // CLOCK_MONOTONIC
  std::int64_t boot_ns = 0;   // CLOCK_BOOTTIME
};
Moment moment_now();

// The gap between two signs of life, in boot time; none where they are as close as they should be.
std::optional<Gap> gap_between(const Moment& before, const Moment& now);

// Looks at the clocks all the time; whoever handles anything that may have waited calls look() first.
class Presence {
 public:
  // Times of the gap are boot times; `stalled` is how much of it the clock of timers ran.
  using Noticed = std::function<void(const Gap&, std::chrono::nanoseconds stalled)>;
  Presence(boost::asio::io_context&, Noticed);
  ~Presence();
  void look();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
