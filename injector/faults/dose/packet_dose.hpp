// The dose of what is done to packets, from what was seen of them: the same for either mechanism.
#pragma once

#include <string>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/host/packets/packet_engine.hpp"

namespace squall::faults {

struct PacketsSeen {
  // Of the packets that go one way.
  struct OneWay {
    Way way = Way::out;
    const HoldTimes* held = nullptr;  // of packets that came while the dose was full and were delayed
    std::uint64_t packets = 0;        // passed on so far, at any level
    std::uint64_t holding = 0;
    PacketCounts counts;         // while the dose was full
    std::uint64_t released = 0;  // before their delay was over
  };
  std::vector<OneWay> ways;                // those that were asked for
  std::uint64_t overflowed = 0, lost = 0;  // not meant: passed at once, dropped
  std::uint64_t interpolated = 0;          // when they came is known from others
  std::uint64_t refused = 0;               // had no room in the queue of the device they were to leave by
  double level = 1;
  bool sees_bursts = true;    // counts.losses.bursts means something
  double corrupted_seen = 1;  // the share of the corrupted ones that is recognised at least
  double narrowed = 1;        // the spread of the delays is this part of the one asked for, at least
  bool judges_spread = true;
  std::string corruption_unseen;  // why corrupted packets are not counted
  bool queue_in_times = false;    // held has what waiting for a limited rate adds
};

// Verified where each of the ways had it.
Dose packet_dose(const Impairment&, const PacketsSeen&);

}  // namespace squall::faults
