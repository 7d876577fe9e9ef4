// Who came instead of whom: processes that died, and those of the same kind that were started since.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "injector/system/targets.hpp"

namespace squall::faults {

// A moment that is known between two bounds; CLOCK_MONOTONIC, ns.
struct Moment {
  std::int64_t earliest = 0, latest = 0;
};

class Successors {
 public:
  struct Pair {
    Process victim, successor;
    std::int64_t after_ns = 0;   // from death to return, at most
    std::int64_t within_ns = 0;  // by so much it may have been less
  };

  // These were there before: they stand in for nobody.
  void know(const std::vector<Process>&);
  // A death may be seen after its successor has begun, not before the blow.
  void died(const Process&, std::int64_t struck, std::int64_t at);
  bool missing() const { return !gaps_.empty(); }
  bool knows(const Process& process) const { return known_.contains({process.pid, process.start_ticks}); }
  // One that is new takes the place of one that died before it came: of one with the same command and cgroup
  // if there is such, of them of the one that died first. `came` says when it came.
  std::optional<Pair> seen(const Process&, Moment came);
  const std::vector<Pair>& pairs() const { return pairs_; }

 private:
  struct Gap {
    Process victim;
    std::int64_t struck = 0, died = 0;
  };
  std::vector<Gap>::iterator place_for(const Process&, std::int64_t came_at_the_latest);

  std::set<std::pair<pid_t, std::uint64_t>> known_;
  std::vector<Gap> gaps_;  // in the order of their deaths
  std::vector<Pair> pairs_;
};

}  // namespace squall::faults
