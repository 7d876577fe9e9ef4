// The dose of a disk limit, from what the disk did for each limited cgroup, beside what its processes asked
// for.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "injector/faults/aim/disk_aim.hpp"
#include "injector/faults/disk/written_bytes.hpp"
#include "injector/faults/dose/throttle_dose.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/storage/block.hpp"

namespace squall::faults {

// What was asked for in one direction of one cgroup on one disk.
struct ThrottleLimits {
  WorkLimits prescribed;  // as asked for
  WorkLimits ours;    // those of them that changed something; neither where lower limits were there before
  std::string lower;  // what was there before, where it was no looser than what was asked for
  bool asked() const { return prescribed.bytes || prescribed.operations; }
  bool changed() const { return ours.bytes || ours.operations; }
};

// Watches every limited cgroup on its disk. What a cgroup got done is the lesser of two counts: its own,
// which v1 raises when a request is queued, long before a throttled one is let through (measured on 6.18),
// and the disk's, which is raised when a request completes, whoever made it.
class ThrottleWatch {
 public:
  // `writes_back`: the kernel writes buffered data back within the cgroup, and its limit.
  void add(const cgroup::Hierarchy&, const DiskUser&, ThrottleLimits reads, ThrottleLimits writes,
           bool writes_back);
  // What all users of a device do counts, limited or not.
  void count_all_of(const block::Device&);
  void start();  // from here on, afresh
  void sample();
  void finish();
  // Verified where in each direction that was asked for a limit of ours was reached, no cgroup did more than
  // its limit lets through, and what went by was the lesser part. Of each direction the busiest cgroup tells
  // its figures; shares tell all.
  Dose dose() const;

 private:
  struct Watched {
    cgroup::Hierarchy hierarchy;
    DiskUser user;
    ThrottleLimits limits[2];
    ThrottleWindows windows[2];
    bool writes_back = false;
    block::Totals cgroup_start, disk_start;
    block::Totals own;        // since the start, by its own counters
    block::Totals disk_done;  // since the start
    std::uint64_t root_start = 0,
                  by_root = 0;  // v2: bytes written that are in no cgroup's account but the root's
  };
  struct WholeDevice {
    block::Device device;
    block::Totals start, done;
  };
  std::string reason(const Watched&, int direction) const;
  std::string doubt(int direction, std::vector<Share>&) const;
  Share share(const Watched&, int direction) const;
  void add_share_of_all(const WholeDevice&, int direction, std::vector<Share>&, std::string& doubt) const;
  void add_figures(Dose&, const Watched&, int direction) const;

  std::vector<Watched> watched_;
  std::vector<WholeDevice> whole_;
  std::map<std::string, WrittenBytes> written_;  // by the folder of the cgroup
  double started_at_ = 0, sampled_at_ = 0;
  bool started_ = false;
};

// What a cgroup has done on a device by its own counters; zeros where there are none yet (v1 starts to count
// with the first limit on a device). From the texts of io.stat, and of io_service_bytes and io_serviced.
block::Totals parse_io_stat(std::string_view text, std::string_view device);
block::Totals parse_blkio_counters(std::string_view bytes, std::string_view operations,
                                   std::string_view device);

}  // namespace squall::faults
