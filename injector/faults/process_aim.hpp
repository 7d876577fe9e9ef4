// How the packets of processes are told from those of others: by a network namespace that nobody else is in, or by cgroups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/host/detour_rules.hpp"
#include "injector/targets.hpp"
#include "scenarios/diagnostics.hpp"

namespace squall::faults {

struct ProcessAim {
  std::uint64_t network_namespace = 0;  // where they are; the injector's own where none are meant
  pid_t namespace_pid = 0;              // a process in it; 0 where it is our own
  bool alone = false;                   // nobody else is in the namespace: its packets are theirs
  std::vector<SocketCgroup> cgroups;    // by which the kernel knows their sockets, where they were asked for
  std::vector<std::string> limits;
};

// Where they are. Reports what is wrong and returns false.
bool find_namespace(const std::vector<Process>&, ProcessAim&, Diagnostics&);
// After find_namespace: what makes the kernel know their packets.
bool recognise(const std::vector<Process>&, ProcessAim&, Diagnostics&);

}  // namespace squall::faults
