// Whether what a fault is aimed at is still where it acts: what went is hit no more, whatever was measured
// before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/faults/aim/footing.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/system/targets.hpp"

namespace squall::faults {

class AimWatch {
 public:
  AimWatch(std::uint64_t network_namespace, pid_t namespace_pid);
  // The one device that is meant.
  void expect(const links::Link& device) { device_ = device; }
  // What acts on the device knows it by its name: one that is renamed is hit no more.
  void expect_its_name() { named_ = true; }
  // These processes, all in the network namespace, and whoever the target means in their place later.
  void expect(const TargetSpec&, const std::vector<Process>&);

  // Whether the network namespace is there, and no other that the kernel has given its inode since.
  bool namespace_is_there() const;
  // What it stands on besides, from `begin` to `end`.
  void stands_on(std::function<std::string()> look, std::int64_t every_ns = 0) {
    footing_.add(std::move(look), every_ns);
  }
  void begin() { footing_.begin(); }
  void end() { footing_.end(); }
  std::int64_t age() const { return footing_.age(); }

  // Looks again whether the device went: which and when that was seen, "" while it is there. What went once
  // is told for good.
  const std::string& device_gone();
  // Looks again whether one that is meant runs in another network namespace, as a container that was started
  // anew does.
  const std::string& escaped();
  // "fault.ineffective", once for each.
  std::vector<FaultEvent> events();
  // Not verified where something went.
  Dose in_view(Dose);

 private:
  struct Loss {
    std::string why;
    std::int64_t at = 0;
    bool told = false;
    void set(std::string);
  };
  std::string look_for_device() const;
  bool all_are_in_place() const;
  void look_for_processes();

  std::uint64_t network_namespace_;
  pid_t namespace_pid_;
  std::uint64_t cookie_;  // of the namespace; 0 where it is our own, or not known
  std::optional<links::Link> device_;
  std::optional<TargetSpec> target_;
  std::vector<pid_t> pids_;
  bool named_ = false;
  std::int64_t next_search_ = 0;
  Footing footing_;
  Loss gone_, escaped_;
};

// How often to look at rules that nobody but their owner, which we are, can take away.
constexpr std::int64_t rules_every_ns = 1'000'000'000;
// What it means for a fault that these rules of its own, "" for none, are not there.
std::string gone_rules(const std::string& which);
// A dose that is not verified any more, and why.
Dose doubted(Dose, const std::string& why);

}  // namespace squall::faults
