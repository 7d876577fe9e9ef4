#include "injector/host/packets/piece_fates.hpp"

namespace squall {

PieceFates::Decision* PieceFates::find(std::uint64_t packet) {
  const auto found = known_.find(packet);
  return found == known_.end() ? nullptr : &found->second;
}

PieceFates::Decision& PieceFates::add(std::uint64_t packet, const Decision& decision) {
  if (!known_.contains(packet)) {
    if (order_.full()) known_.erase(order_.front());
    order_.push_back(packet);
  }
  return known_[packet] = decision;
}

}  // namespace squall
