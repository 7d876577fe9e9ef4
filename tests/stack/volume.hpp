// The durable log of every change, on a volume of its own.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/stack/metrics.hpp"

namespace squall::stack {

// One thread appends what is waiting, flushes it with one fdatasync(2) and tells everybody whose record was
// in it: a slow disk delays those who write, and nobody who reads. The log is a ring of segments, so that it
// never fills the volume.
class Volume {
 public:
  using Done = std::function<void(bool written)>;  // called on the volume's thread

  // Throws std::runtime_error when the directory cannot be written.
  Volume(std::filesystem::path directory, Histogram& flush);
  ~Volume();
  Volume(const Volume&) = delete;

  // False, and `done` is never called, when too much is waiting already.
  bool append(std::string record, Done done);

  // For how long the oldest record has been waiting to be durable; 0 when none is.
  double oldest_wait_s() const;

 private:
  struct Waiting {
    std::string record;
    Done done;
    Clock::time_point since;
  };

  void run();
  bool write(const std::vector<Waiting>& batch);
  void next_segment();

  std::filesystem::path directory_;
  Histogram& flush_;
  int file_ = -1;
  unsigned segment_ = 0;
  std::size_t segment_bytes_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::optional<Clock::time_point> flushing_since_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace squall::stack
