// The dose of a disk limit, from what the disk did for each limited cgroup.
#pragma once

#include <string>
#include <vector>

#include "injector/fault.hpp"
#include "injector/faults/disk_aim.hpp"
#include "injector/faults/throttle_dose.hpp"
#include "injector/host/block.hpp"

namespace squall::faults {

// Watches every limited cgroup on its disk. What a cgroup got done is the lesser of two counts: its own, which v1
// raises when a request is queued, long before a throttled one is let through (measured on 6.18), and the disk's, which
// is raised when a request completes, whoever made it.
class ThrottleWatch {
 public:
  void add(cgroup::Version, const DiskUser&, WorkLimits reads, WorkLimits writes);
  void start();   // from here on, afresh
  void sample();
  void finish();
  // Of each direction the busiest cgroup speaks.
  Dose dose() const;

 private:
  struct Watched {
    cgroup::Version version;
    DiskUser user;
    WorkLimits limits[2];
    ThrottleWindows windows[2];
    block::Totals cgroup_start, disk_start;
    block::Totals disk_done;  // since the start
  };
  std::string reason(const Watched&, int direction) const;

  std::vector<Watched> watched_;
  double started_at_ = 0, sampled_at_ = 0;
  bool started_ = false;
};

// What a cgroup has done on a device by its own counters; zeros where there are none yet (v1 starts to count with the
// first limit on a device). From the texts of io.stat, and of io_service_bytes and io_serviced.
block::Totals parse_io_stat(std::string_view text, std::string_view device);
block::Totals parse_blkio_counters(std::string_view bytes, std::string_view operations, std::string_view device);

}  // namespace squall::faults
