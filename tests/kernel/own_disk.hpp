// A disk and cgroups of a test's own: an ext4 on a loop device, and processes that use it.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <sys/types.h>

#include "injector/host/cgroups/cgroup.hpp"
#include "tests/support/server_process.hpp"

namespace squall::testing {

// Mounted in a mount namespace of the test process; device and mount vanish with it, however it ends.
class OwnDisk {
 public:
  OwnDisk();
  ~OwnDisk();
  OwnDisk(const OwnDisk&) = delete;
  OwnDisk& operator=(const OwnDisk&) = delete;
  const std::string& folder() const { return mount_; }
  const std::string& device() const { return device_; }  // "/dev/loop3"
  std::string id() const;                                // "7:3"
  std::string name() const { return device_.substr(5); }

 private:
  test::TemporaryDirectory files_;
  std::string mount_, device_;
  int held_ = -1;
};

// A cgroup below the root of the hierarchy that limits I/O; removed at the end.
class OwnCgroup {
 public:
  explicit OwnCgroup(const std::string& name);
  ~OwnCgroup();
  OwnCgroup(const OwnCgroup&) = delete;
  OwnCgroup& operator=(const OwnCgroup&) = delete;
  const cgroup::Group& group() const { return group_; }
  // What the file that holds write rates has for a device, "" where nothing: "7:0 1048576", "7:0 rbps=max
  // wbps=…".
  std::string write_limits() const;
  void write(const std::string& line) const;  // into that file
  void remove();

 private:
  std::string limit_file() const;
  cgroup::Hierarchy hierarchy_;
  cgroup::Group group_;
};

enum class Use {
  direct_write,
  synced_write,
  buffered_write,
  direct_read,
  cached_read,
  holds_open,
  holds_mapped
};

// A process in a cgroup that uses a file of the disk all the time and counts what it got done.
class DiskWorker {
 public:
  // `pause_ms` between two operations of `block` bytes.
  DiskWorker(const OwnDisk&, const OwnCgroup&, Use, std::size_t block = 64 * 1024, int pause_ms = 0);
  ~DiskWorker();
  DiskWorker(const DiskWorker&) = delete;
  DiskWorker& operator=(const DiskWorker&) = delete;
  pid_t pid() const { return pid_; }
  void stop();
  std::uint64_t operations() const { return *operations_; }
  double bytes_per_second(std::chrono::milliseconds over) const;  // from now on, for so long

 private:
  [[noreturn]] void work(const std::string& file, const std::string& group, Use, std::size_t block,
                         int pause_ms);
  std::atomic<std::uint64_t>* operations_;  // shared with the process
  std::size_t block_;
  pid_t pid_ = -1;
};

}  // namespace squall::testing
