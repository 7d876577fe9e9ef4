// When probes are due. Pure arithmetic: the same probes in the same order get the same times.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

namespace squall {

// Gives each probe its place within its period, far from those of the same period that came before it.
class Spread {
 public:
  std::chrono::nanoseconds next(std::chrono::nanoseconds every);

 private:
  std::map<std::chrono::nanoseconds, std::uint64_t> given_;
};

// How many questions of one probe may be unanswered at once: each of them ends by its timeout, so that on
// time there are never more; it bounds what a stalled machine starts when it wakes up.
std::size_t most_in_flight(std::chrono::nanoseconds every, std::chrono::nanoseconds timeout);

}  // namespace squall
