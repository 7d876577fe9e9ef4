// The packets that wait for their time.
#pragma once

#include <vector>

#include <boost/circular_buffer.hpp>

#include "injector/host/packets/packet_source.hpp"

namespace squall {

// What waits, soonest first; ties in order of arrival. A plain delay keeps the order even when it changes.
class HeldPackets {
 public:
  void add(HeldPacket&&);
  bool empty() const { return line_.empty() && heap_.empty(); }
  std::size_t size() const { return line_.size() + heap_.size(); }
  std::int64_t next_due() const { return heap_is_next() ? heap_.front().due : line_.front().due; }
  std::int64_t last_due() const;
  // When the last of those is due that are due by `latest`, which it is taken to be where some overtake
  // others; 0: none is.
  std::int64_t last_due_by(std::int64_t latest) const;
  HeldPacket take_next();

 private:
  bool heap_is_next() const;

  boost::circular_buffer<HeldPacket> line_{1024};  // each due no sooner than the one before
  std::vector<HeldPacket> heap_;                   // what overtakes
};

}  // namespace squall
