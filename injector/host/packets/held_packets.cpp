#include "injector/host/packets/held_packets.hpp"

#include <algorithm>

namespace squall {

namespace {
bool later(const HeldPacket& a, const HeldPacket& b) {
  return a.due != b.due ? a.due > b.due : a.order > b.order;
}
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
  for (auto& packet : heap_)
    out = std::max(out, packet.due);
  return out;
}

std::int64_t HeldPackets::last_due_by(std::int64_t latest) const {
  if (!heap_.empty() && heap_.front().due <= latest) return latest;
  const auto behind =
      std::upper_bound(line_.begin(), line_.end(), latest,
                       [](std::int64_t time, const HeldPacket& packet) { return time < packet.due; });
  return behind == line_.begin() ? 0 : std::prev(behind)->due;
}

bool HeldPackets::heap_is_next() const {
  return !heap_.empty() && (line_.empty() || later(line_.front(), heap_.front()));
}

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
