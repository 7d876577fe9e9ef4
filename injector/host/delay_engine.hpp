// Holds packets in user space, each for its own time, on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "injector/host/delay_distribution.hpp"
#include "injector/host/hold_times.hpp"
#include "injector/host/packet_source.hpp"
#include "injector/host/process.hpp"

namespace squall {

// What waits, soonest first; ties in order of arrival. A plain delay keeps the order even when it changes.
class HeldPackets {
 public:
  void add(HeldPacket&&);
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  std::int64_t next_due() const { return heap_.front().due; }
  HeldPacket take_next();

 private:
  std::vector<HeldPacket> heap_;
};

struct DelayMeasure {
  HoldTimes at_full_level;   // packets that came while the dose was full
  std::uint64_t packets = 0;  // delivered after their delay, at any level
  std::uint64_t holding = 0, overflowed = 0, released_early = 0, lost = 0;
};

class DelayEngine {
 public:
  DelayEngine(const DelayShape&, std::uint64_t seed);
  ~DelayEngine();
  DelayEngine(const DelayEngine&) = delete;
  DelayEngine& operator=(const DelayEngine&) = delete;

  // Before start. The engine owns them.
  void add(std::unique_ptr<PacketSource>);
  // Starts the thread, in the caller's network namespace.
  void start();
  // The share of the whole delay and jitter that packets get which come from now on.
  void set_level(double level) { level_ = level; }
  // Lets everything that waits go at once and in order, takes what still comes in until nothing does, and ends the
  // thread. No new packet may be sent our way any more. Sources stay open.
  void release();
  // Closes the sources.
  void close() { sources_.clear(); }
  DelayMeasure measure() const;

 private:
  void run();
  void wait();
  bool take();
  void deliver(std::int64_t now);
  void deliver_all();
  void keep(HeldPacket&&);

  DelayShape shape_;
  DelaySampler sampler_;
  std::vector<std::unique_ptr<PacketSource>> sources_;
  Fd epoll_, timer_, wake_;
  std::thread thread_;
  std::atomic<double> level_ = 1;
  std::atomic<bool> releasing_ = false;

  // The thread's own.
  HeldPackets held_;
  std::int64_t armed_ = 0, last_due_ = 0;
  std::uint64_t order_ = 0, held_bytes_ = 0;

  mutable std::mutex mutex_;
  DelayMeasure measure_;
};

}  // namespace squall
