// Delays, loses, repeats, corrupts and slows down packets in user space, on a thread of its own.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "injector/host/impairments/impairment.hpp"
#include "injector/host/packets/held_count.hpp"
#include "injector/host/packets/held_packets.hpp"
#include "injector/host/packets/hold_times.hpp"
#include "injector/host/packets/packet_source.hpp"
#include "injector/host/packets/piece_fates.hpp"
#include "injector/system/process.hpp"

namespace squall {

// What was done to packets that came while the dose was full.
struct PacketCounts {
  LossCounts losses;
  std::uint64_t duplicated = 0, corrupted = 0, at_once = 0;
  std::uint64_t timed = 0;       // of how many at_once are some; 0: of all that were not lost
  std::uint64_t queue_full = 0;  // lost before a limited rate
  std::uint64_t busy_bytes = 0;  // sent while others waited for a limited rate
  std::int64_t busy_ns = 0;
  PacketCounts& operator+=(const PacketCounts&);
};

// Of the packets that go one way.
struct WayMeasure {
  HoldTimes at_full_level;  // packets that came while the dose was full; without what a limited rate adds
  PacketCounts counts;
  std::uint64_t packets = 0;   // passed on, at any level
  std::uint64_t released = 0;  // of them before their delay was over: it was undone
  std::uint64_t holding = 0;
};

struct EngineMeasure {
  std::array<WayMeasure, 2> ways;
  std::uint64_t overflowed = 0, lost = 0;
  std::uint64_t interpolated = 0;  // packets that were not looked at each: when they came is between others
  std::uint64_t refused = 0;       // by the full queue of the device they were to leave by

  WayMeasure& of(Way way) { return ways[static_cast<std::size_t>(way)]; }
  const WayMeasure& of(Way way) const { return ways[static_cast<std::size_t>(way)]; }
};

class PacketEngine {
 public:
  static constexpr int look_ms = 250;
  // Beyond so much, further packets pass at once: memory is the host's, not ours.
  static constexpr std::uint64_t most_held_bytes = 512 << 20;
  PacketEngine(const Impairment&, std::uint64_t seed);
  ~PacketEngine();
  PacketEngine(const PacketEngine&) = delete;
  PacketEngine& operator=(const PacketEngine&) = delete;

  // Before start. The engine owns them.
  void add(std::unique_ptr<PacketSource>);
  // Before start: of a packet that comes in pieces all share the fate of the first.
  void let_pieces_follow() { pieces_follow_ = true; }
  // Starts the thread, in the caller's network namespace.
  void start();
  // Packets come from now on: whether the thread still looks at them is watched, and what it holds is told
  // under `name` to whoever outlives this process (HeldCount).
  void watch(const std::string& name);
  // The part of the whole dose that packets get which come from now on.
  void set_level(double level) { level_ = level; }
  // Lets everything that waits go soon and in order, takes what still comes in until nothing does, and ends
  // the thread, all within 0.6 s. No new packet may be sent our way any more. Sources stay open.
  void release();
  // The same, but it does not wait for the end: release does.
  void begin_release();
  // While `on`, everything passes at once, what waits already too: it is gone when this comes back, or after
  // 0.1 s.
  void make_way(bool on);
  // Once no more are led here: all that were are gone when this comes back, or after 0.1 s.
  void wait_until_empty();
  // Closes the sources.
  void close();
  EngineMeasure measure() const;
  // Whether one of its sources was taken from us.
  bool lost_a_source() const;
  // How often its thread has looked at its packets: while it is watched and well, once in `look_ms` at least.
  std::uint64_t looks() const { return looks_; }

 private:
  void run();
  void wake();
  bool holds() const;
  void wait_while(const std::function<bool()>&);
  // Waits for what comes or is due; up to when packets may go thereafter, 0: up to now.
  std::int64_t wait();
  std::int64_t wait_for_group();
  bool many_come(std::int64_t now);
  // Of how many packets that come one is looked at.
  unsigned enough(std::int64_t now);
  void sample_one_in(unsigned packets);
  std::int64_t longest_unread() const;
  bool keeps_order() const { return shape_.delay.jitter_ns == 0 && !shape_.reorder && !shape_.editor; }
  bool take();
  bool take_unread(PacketSource&);
  void expect_lead(std::int64_t taken);
  void look_away(const PacketSource&);
  std::int64_t next_due() const;
  void deliver(std::int64_t up_to);
  void deliver_next(std::int64_t up_to);
  bool pass_limit(HeldPacket&);
  void forget(const HeldPacket&);
  void publish();
  void deliver_all();
  void release_due(std::int64_t up_to);
  void give_up();
  void keep(HeldPacket&&);
  void hold(HeldPacket&&, bool at_once, double level);
  Fate fate_of(HeldPacket&, double level);
  Fate draw(HeldPacket&, double level);
  void overflow(HeldPacket&&);
  void remember(const HeldPacket&);
  static std::size_t damage_begins(const HeldPacket&);
  void corrupt(HeldPacket&);
  PacketEditor::Verdict edit(HeldPacket&, double level);
  bool let_go(HeldPacket&);
  void send();

  static constexpr std::int64_t never = INT64_MAX;

  // What is drawn and reckoned for the packets of one way.
  struct Lane {
    Lane(const Impairment&, std::uint64_t seed);
    void count(const Fate&);
    DelaySampler delays;
    FateSampler fates;
    std::optional<RateLimit> rate;
    PacketCounts counts;
    bool lost_before = false;
    std::int64_t last_due = 0, last_departure = 0;
  };
  Lane& lane_of(const HeldPacket& packet) { return lanes_[static_cast<std::size_t>(packet.way)]; }

  Impairment shape_;
  const std::int64_t typical_delay_ns_;
  std::array<Lane, 2> lanes_;  // by Way
  std::vector<std::unique_ptr<PacketSource>> sources_;
  Fd epoll_, timer_, wake_;
  std::thread thread_;
  std::atomic<double> level_ = 1;
  std::atomic<bool> releasing_ = false, making_way_ = false;
  std::atomic<std::uint64_t> looks_ = 0;
  std::unique_ptr<HeldCount> held_count_;
  std::atomic<HeldCount*> watched_ = nullptr;  // while it is

  // The thread's own.
  std::set<const PacketSource*> not_looked_at_;
  const std::function<void(HeldPacket&&)> keep_ = [this](HeldPacket&& packet) { keep(std::move(packet)); };
  HeldPackets held_;
  HeldPackets through_;  // their delay is over: they wait behind a limited rate, or could not go yet
  std::int64_t armed_ = 0, last_taken_ = 0, lead_ns_ = 0;
  bool unread_ = false;  // packets lay there since the last look
  std::vector<HeldPacket> gathered_;
  const std::function<void(HeldPacket&&)> gather_ = [this](HeldPacket&& packet) {
    gathered_.push_back(std::move(packet));
  };
  // Given to their sources, and perhaps not yet to the kernel.
  struct Leaving {
    Way way;
    bool full_level;
    std::int64_t due, entered, queued;
    std::uint32_t wire_bytes;
  };
  std::vector<Leaving> leaving_;
  std::int64_t retry_at_ = never;  // where some of those could not go
  std::uint64_t order_ = 0, held_bytes_ = 0;
  std::array<std::uint64_t, 2> holding_{};  // by Way
  std::int64_t counting_since_ = 0, averaging_since_ = 0;
  std::uint64_t came_ = 0, counted_ = 0, averaged_ = 0;
  unsigned sampled_one_in_ = 1;
  bool many_ = false;
  std::string edited_;
  bool pieces_follow_ = false;
  std::int64_t last_piece_ = 0;  // when one came
  PieceFates pieces_;

  mutable std::mutex mutex_;
  EngineMeasure measure_;
};

}  // namespace squall
