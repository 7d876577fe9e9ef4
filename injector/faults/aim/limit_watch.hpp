// Whether the limits that a fault has set still stand, and whether those whom they are for are still where
// they hold: looked at with each dose, since others change both (systemctl, a container's update, a
// controller that is switched off).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "injector/faults/aim/disk_aim.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/storage/device_limit.hpp"

namespace squall::faults {

class LimitWatch {
 public:
  // `target`: who is meant; others of it that begin later are looked for.
  LimitWatch(TargetSpec target, const DiskAim&);
  // A limit that is there from now on, with the values that count as ours.
  void expect(const cgroup::DeviceLimit&, std::uint64_t value);
  void look();
  // What was found first, "" while all is in place. What went once is told for good.
  const std::string& lost() const { return why_; }
  // "fault.ineffective", once.
  std::vector<FaultEvent> events();

 private:
  struct Expected {
    cgroup::DeviceLimit where;
    std::uint64_t value = 0, identity = 0;
  };
  void lose(const std::string& what);
  void look_at_limits();
  void look_at_processes();
  void look_for_others();
  bool is_limited(const cgroup::Group&) const;

  TargetSpec target_;
  cgroup::Hierarchy hierarchy_;
  std::vector<cgroup::Group> groups_;
  std::vector<DiskProcess> processes_;
  std::vector<pid_t> unreached_;  // the plan tells of them
  std::map<std::string, Expected> expected_;
  std::int64_t next_search_ = 0, at_ = 0;
  std::string why_;
  bool told_ = false;
};

}  // namespace squall::faults
