// What passes some devices while nothing of it is hit: the most frequent protocols and ports, seen from
// outside the fault.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/host/connections/went_by.hpp"
#include "injector/system/process.hpp"

namespace squall {

// A look is short: it listens for a few seconds at most, and reads a bounded number of packets.
class PassersBy {
 public:
  // Of these devices (indices; none: of all) of a network namespace. `peers`: addresses are told too.
  PassersBy(std::uint64_t network_namespace, pid_t namespace_pid, std::vector<std::uint32_t> devices,
            bool peers);
  // Called now and then while nobody is hit; listens from the first time on.
  void look();
  void stop() { socket_ = Fd{}; }
  // "tcp to port 443 (12 times), udp to port 53 (2 times)"; "" where nothing was seen.
  std::string to_string() const { return seen_.to_string(); }

 private:
  void listen();

  std::uint64_t network_namespace_;
  pid_t namespace_pid_;
  std::vector<std::uint32_t> devices_;
  bool peers_;
  std::int64_t since_ = 0;
  Fd socket_;
  WentBy seen_;
};

}  // namespace squall
