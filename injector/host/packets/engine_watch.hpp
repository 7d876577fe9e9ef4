// Notices packet engines that hang.
#pragma once

#include <cstdint>
#include <map>

namespace squall {

class PacketEngine;

// Whether an engine of this process has stood still since the last call of each of them, a few in a row. For
// one caller, at a pace at which an engine that is well has looked at its packets (PacketEngine::look_ms).
class EngineWatch {
 public:
  // True once the same engine has not looked for so many calls in a row.
  bool hangs();

  // An engine is watched from here to there.
  static void add(const PacketEngine*);
  static void remove(const PacketEngine*);

 private:
  static constexpr int patience = 4;
  struct Seen {
    std::uint64_t looks = 0;
    int still = 0;
  };
  std::map<const PacketEngine*, Seen> seen_;
};

}  // namespace squall
