#include "injector/host/held_packets.hpp"

#include <algorithm>

namespace squall {

namespace {
bool later(const HeldPacket& a, const HeldPacket& b) { return a.due != b.due ? a.due > b.due : a.order > b.order; }
}  // namespace

void HeldPackets::add(HeldPacket&& packet) {
  if (line_.empty() || later(packet, line_.back())) {
    if (line_.full()) line_.set_capacity(2 * line_.capacity());
    line_.push_back(std::move(packet));
    return;
  }
  heap_.push_back(std::move(packet));
  std::push_heap(heap_.begin(), heap_.end(), later);
}

std::int64_t HeldPackets::last_due() const {
  std::int64_t out = line_.empty() ? 0 : line_.back().due;
  for (auto& packet : heap_) out = std::max(out, packet.due);
  return out;
}

bool HeldPackets::heap_is_next() const { return !heap_.empty() && (line_.empty() || later(line_.front(), heap_.front())); }

HeldPacket HeldPackets::take_next() {
  if (!heap_is_next()) {
    auto packet = std::move(line_.front());
    line_.pop_front();
    return packet;
  }
  std::pop_heap(heap_.begin(), heap_.end(), later);
  auto packet = std::move(heap_.back());
  heap_.pop_back();
  return packet;
}

}  // namespace squall
