// From a scenario to which fault goes to which host: pure, so that the same seed gives the same drill.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "scenarios/model/scenario.hpp"

namespace squall {

// One fault on one host.
struct PlannedFault {
  const Step* step = nullptr;
  std::string host;
  TargetSpec target;                     // the step's own, or the service's processes
  std::uint64_t seed = 1;                // of this fault on this host, derived from the run's
  Value with;                            // the step's parameters, or what its topology makes of them here
  std::vector<std::string> cannot_hear;  // of a topology: hosts
  // "db1 cannot hear db2, db3"; empty where there is no topology.
  std::string deafness() const;
};

struct Plan {
  std::map<std::string, HostSpec> hosts;  // every host of the landscape; "here" where none is named
  std::vector<PlannedFault> faults;       // in the order of the method
  std::vector<std::string> notes;         // what may not be as it was meant, a sentence each
};

// Picks the hosts of every step and checks the blast radius. What is refused goes to `diagnostics` with its
// place.
Plan make_plan(const Scenario&, std::uint64_t seed, Diagnostics&);

// How long a step lasts; an act, which is over at once, is observed for a while.
std::chrono::nanoseconds lasting(const Step&);

// From the first step's start to the last one's end, if everything takes no longer than it should.
std::chrono::nanoseconds method_time(const Scenario&);

// Refuses steps that need the same thing of a host at the same time, each with its place. `claims` are what
// the faults of the plan, in their order, told of themselves.
void check_claims(const Scenario&, const Plan&, const std::vector<std::vector<std::string>>& claims,
                  Diagnostics&);

// The hosts that a selector means, in the order of their names, before `pick` and `share`.
std::vector<std::string> matching_hosts(const Selector&, const Landscape&,
                                        const std::map<std::string, HostSpec>&);

}  // namespace squall
