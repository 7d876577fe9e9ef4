// The shapes of a partition over several hosts, as Jepsen calls them. A scenario names one; the planner makes
// of it what each host cannot hear.
#pragma once

#include "scenarios/schema/schema.hpp"

namespace squall {

enum class Topology {
  isolate_one,    // one host and all others cannot hear each other
  halves,         // two halves cannot hear each other; of an odd number the larger one is a bare majority
  majority_ring,  // every host hears a majority, no two the same one
  one_way,        // one host is heard by nobody, and hears everybody
};

template <>
struct EnumNames<Topology> {
  using T = Topology;
  static constexpr std::array<std::pair<std::string_view, T>, 4> names{{{"isolate_one", T::isolate_one},
                                                                        {"halves", T::halves},
                                                                        {"majority_ring", T::majority_ring},
                                                                        {"one_way", T::one_way}}};
};

}  // namespace squall
