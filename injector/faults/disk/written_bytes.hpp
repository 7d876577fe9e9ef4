// How much the processes of a cgroup write to disks, cached or not: by their own accounts (proc_pid_io(5)),
// which no limit and no write-back is behind.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <sys/types.h>

#include "injector/host/cgroups/cgroup.hpp"

namespace squall::faults {

class WrittenBytes {
 public:
  // `files`: the st_dev of those on the disks that are meant; what goes to others is taken off, as far as
  // that can be seen.
  WrittenBytes(cgroup::Group, bool with_those_below, std::set<dev_t> files);
  void start();
  void sample();
  // Since the start, by who is in the group now or was then.
  std::uint64_t bytes() const {
    return total_ > elsewhere_ ? static_cast<std::uint64_t>(total_ - elsewhere_) : 0;
  }
  // Why that is not known; "" where it is.
  const std::string& unknown() const { return unknown_; }

 private:
  struct Account {
    std::uint64_t start_ticks = 0;
    std::int64_t towards_disks = 0, by_writing = 0;  // bytes
  };
  struct File {
    std::int64_t size = 0, changed_ns = 0;
  };
  void look(bool first);
  void look_elsewhere(pid_t, bool first);

  cgroup::Group group_;
  bool below_;
  std::set<dev_t> files_;
  std::map<pid_t, Account> accounts_;
  std::map<std::pair<dev_t, ino_t>, File> others_;  // files on other disks that are open for writing
  std::int64_t started_ns_ = 0;                     // CLOCK_BOOTTIME
  std::int64_t total_ = 0, elsewhere_ = 0;
  std::string unknown_;
};

}  // namespace squall::faults
