// Whether what a fault acts on is still there: what went is hit no more, whatever was measured before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/fault.hpp"
#include "injector/host/links.hpp"

namespace squall::faults {

class AimWatch {
 public:
  AimWatch(std::uint64_t network_namespace, pid_t namespace_pid) : network_namespace_(network_namespace), namespace_pid_(namespace_pid) {}
  // The one device that is meant.
  void expect(const links::Link& device) { device_ = device; }

  // Looks again: what went and when that was seen, "" while all is there. What went once is told for good.
  const std::string& look();
  // "fault.ineffective", once.
  std::vector<FaultEvent> events();
  // Not verified where something went.
  Dose in_view(Dose);

 private:
  void lose(std::string what);
  bool device_is_there() const;

  std::uint64_t network_namespace_;
  pid_t namespace_pid_;
  std::optional<links::Link> device_;
  std::string lost_;
  std::int64_t lost_at_ = 0;
  bool told_ = false;
};

// A dose that is not verified any more, and why.
Dose doubted(Dose, const std::string& why);

}  // namespace squall::faults
