// Delays, loses, repeats, corrupts and slows down packets in user space, on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "injector/host/impairment.hpp"
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

// What was done to packets that came while the dose was full.
struct PacketCounts {
  LossCounts losses;
  std::uint64_t duplicated = 0, corrupted = 0, at_once = 0;
  std::uint64_t queue_full = 0;                     // lost before a limited rate
  std::uint64_t busy_bytes = 0;                     // sent while others waited for a limited rate
  std::int64_t busy_ns = 0;
};

struct EngineMeasure {
  HoldTimes at_full_level;    // packets that came while the dose was full; without what a limited rate adds
  PacketCounts counts;
  std::uint64_t packets = 0;  // delivered after their delay, at any level
  std::uint64_t holding = 0, overflowed = 0, released_early = 0, lost = 0;
};

class PacketEngine {
 public:
  PacketEngine(const Impairment&, std::uint64_t seed);
  ~PacketEngine();
  PacketEngine(const PacketEngine&) = delete;
  PacketEngine& operator=(const PacketEngine&) = delete;

  // Before start. The engine owns them.
  void add(std::unique_ptr<PacketSource>);
  // Starts the thread, in the caller's network namespace.
  void start();
  // The part of the whole dose that packets get which come from now on.
  void set_level(double level) { level_ = level; }
  // Lets everything that waits go at once and in order, takes what still comes in until nothing does, and ends the
  // thread. No new packet may be sent our way any more. Sources stay open.
  void release();
  // Closes the sources.
  void close() { sources_.clear(); }
  EngineMeasure measure() const;

 private:
  void run();
  void wait();
  bool take();
  void deliver(std::int64_t now);
  void deliver_all();
  void keep(HeldPacket&&);
  void hold(HeldPacket&&, bool at_once, double level);
  void count(const Fate&);
  void corrupt(HeldPacket&);
  PacketEditor::Verdict edit(HeldPacket&, double level);
  bool let_go(HeldPacket&);

  Impairment shape_;
  DelaySampler sampler_;
  FateSampler fates_;
  std::optional<RateLimit> rate_;
  std::vector<std::unique_ptr<PacketSource>> sources_;
  Fd epoll_, timer_, wake_;
  std::thread thread_;
  std::atomic<double> level_ = 1;
  std::atomic<bool> releasing_ = false;

  // The thread's own.
  HeldPackets held_;
  std::int64_t armed_ = 0, last_due_ = 0;
  std::uint64_t order_ = 0, held_bytes_ = 0;
  bool lost_before_ = false;
  std::string edited_;
  std::int64_t last_departure_ = 0;
  PacketCounts counts_;

  mutable std::mutex mutex_;
  EngineMeasure measure_;
};

}  // namespace squall
