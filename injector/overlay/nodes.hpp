// The files that the kernel knows by number, in the table that outlives a worker.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include <sys/stat.h>

#include "injector/overlay/shared.hpp"

namespace squall::overlay {

class Nodes {
 public:
  // Takes over what a predecessor left in the table.
  explicit Nodes(Shared&);
  // Number 1 is the folder itself.
  int descriptor(std::uint64_t number) const { return shared_.nodes[number - 1].descriptor_plus_one - 1; }
  std::uint64_t generation(std::uint64_t number) const { return shared_.nodes[number - 1].generation; }
  // Counts one lookup more and takes the descriptor over (closes it where the file is known). 0: the table is
  // full.
  std::uint64_t found(int descriptor, const struct stat&);
  void forget(std::uint64_t number, std::uint64_t lookups);

 private:
  Shared& shared_;
  std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> known_;
  std::vector<std::uint64_t> free_;
  std::uint64_t end_ = 1;  // numbers from here on were never used
};

}  // namespace squall::overlay
