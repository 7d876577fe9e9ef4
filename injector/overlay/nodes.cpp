#include "injector/overlay/nodes.hpp"

#include <unistd.h>

namespace squall::overlay {

Nodes::Nodes(Shared& shared) : shared_(shared) {
  for (std::uint64_t number = 1; number <= most_nodes; ++number) {
    auto& node = shared_.nodes[number - 1];
    if (node.descriptor_plus_one) {
      known_[{node.device, node.inode}] = number;
      end_ = number + 1;
    } else if (node.generation) {
      free_.push_back(number);
      end_ = number + 1;
    } else {
      break;
    }
  }
}

std::uint64_t Nodes::found(int descriptor, const struct stat& info) {
  const std::lock_guard lock{mutex_};
  if (auto at = known_.find({info.st_dev, info.st_ino}); at != known_.end()) {
    ::close(descriptor);
    ++shared_.nodes[at->second - 1].lookups;
    return at->second;
  }
  std::uint64_t number = end_;
  if (!free_.empty()) {
    number = free_.back();
    free_.pop_back();
  } else if (end_ > most_nodes) {
    ::close(descriptor);
    return 0;
  } else {
    ++end_;
  }
  auto& node = shared_.nodes[number - 1];
  node.device = info.st_dev;
  node.inode = info.st_ino;
  node.lookups = 1;
  ++node.generation;
  node.descriptor_plus_one = descriptor + 1;
  known_[{info.st_dev, info.st_ino}] = number;
  return number;
}

void Nodes::forget(std::uint64_t number, std::uint64_t lookups) {
  if (number <= 1) return;
  const std::lock_guard lock{mutex_};
  auto& node = shared_.nodes[number - 1];
  node.lookups -= std::min(node.lookups, lookups);
  if (node.lookups || !node.descriptor_plus_one) return;
  known_.erase({node.device, node.inode});
  ::close(node.descriptor_plus_one.exchange(0) - 1);
  free_.push_back(number);
}

}  // namespace squall::overlay
