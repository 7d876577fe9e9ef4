// The network namespace that a fault acts in: this host's own, or that of the processes it is aimed at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "injector/faults/aim_watch.hpp"
#include "scenarios/schema.hpp"
#include "scenarios/selector.hpp"

namespace squall::faults {

struct NetworkPlace {
  std::uint64_t network_namespace = 0;
  pid_t pid = 0;     // of somebody in it; 0: our own
  std::string name;  // "this host", "the network namespace of nginx[4711]"
  AimWatch watch;
};

std::optional<NetworkPlace> find_place(const TargetSpec&, Diagnostics&);

}  // namespace squall::faults
