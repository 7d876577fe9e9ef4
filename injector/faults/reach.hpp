// What a fault touches on this host, beside the processes, interface or disk that it was aimed at by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/system/targets.hpp"

namespace squall {

// The host's policy is asked about all of it before the fault is applied, as it is applied, and again and
// again while it is in force: others come to a cgroup or start to listen on a port. So this names places, not
// who was there.
struct Reach {
  // Whoever is in the cgroup.
  struct Cgroup {
    std::string folder;
    bool below = false;  // and in those below it
  };
  // Devices of one network namespace.
  struct Devices {
    std::uint64_t network_namespace = 0;
    pid_t pid = 0;  // of somebody in it; 0: our own
    std::vector<std::uint32_t> indexes;
    bool every = false;           // all that are there or will be
    bool loopback_alone = false;  // of every one only lo: the peers that are meant are this host itself,
    std::optional<std::uint16_t>
        port;  // or, as far as that is so, whoever listens on this port does on loopback addresses alone
    bool everybody = false;  // all processes in the namespace are hit
  };

  std::vector<Process> processes;  // each of them, alone
  std::vector<Cgroup> cgroups;
  std::optional<Devices> devices;
  std::vector<std::string> disks;  // "8:0"
};

}  // namespace squall
