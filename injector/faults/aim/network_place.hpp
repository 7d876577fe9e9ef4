// The network namespace that a fault acts in: this host's own, or that of the processes it is aimed at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "injector/faults/aim/aim_watch.hpp"
#include "injector/faults/fault.hpp"
#include "scenarios/model/selector.hpp"
#include "scenarios/schema/schema.hpp"

namespace squall::faults {

struct NetworkPlace {
  std::uint64_t network_namespace = 0;
  pid_t pid = 0;                   // of somebody in it; 0: our own
  std::string name;                // "this host", "the network namespace of nginx[4711]"
  std::vector<Process> processes;  // whom it was found by
  AimWatch watch;
  // What is done to these devices there (to every one: none named) hits everybody in it.
  Reach reach(std::vector<std::uint32_t> devices) const;
};

std::optional<NetworkPlace> find_place(const TargetSpec&, const Setting&, Diagnostics&);

}  // namespace squall::faults
