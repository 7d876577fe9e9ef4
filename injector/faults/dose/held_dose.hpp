// Whether a proxy held things for as long as it was asked to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/proxy/link.hpp"

namespace squall::faults {

// In milliseconds, of each thing in the same place: between arrival and departure, the delay chosen for it,
// and how long after its turn in the order it left.
struct HeldTimes {
  std::vector<float> held, rolled, late;
  void add(const proxy::LinkCounters&);
};

// A share of them, ascending: 0.5 for the median; 0 of none.
double quantile(std::vector<float>, double share);
// Why they do not show a delay of `delay` ± `jitter` (uniformly) for each; empty where they do. `things`:
// "pieces".
std::string unlike(const HeldTimes&, Duration delay, Duration jitter, std::string_view things);

}  // namespace squall::faults
