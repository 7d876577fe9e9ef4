// How many packets an engine holds, told to whoever outlives it: what its death costs.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace squall {

// A number in shared memory (shm_overview(7)) by a name of its own; counts for nobody where the host has none
// to give.
class HeldCount {
 public:
  explicit HeldCount(const std::string& name);
  ~HeldCount();  // and the number is gone
  HeldCount(const HeldCount&) = delete;
  HeldCount& operator=(const HeldCount&) = delete;
  void set(std::uint64_t packets);

  // What one that died has left, and removes it; nothing where there is none.
  static std::optional<std::uint64_t> take(const std::string& name);

 private:
  std::string name_;
  std::atomic<std::uint64_t>* number_ = nullptr;
};

}  // namespace squall
