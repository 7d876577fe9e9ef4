// Looks into packets on their way, and may change what becomes of them.
#pragma once

#include <span>
#include <string>

namespace squall {

class PacketEditor {
 public:
  virtual ~PacketEditor() = default;
  enum class Verdict {
    pass,     // at once
    delay,    // as long as the impairment says
    drop,     // silently
    replace,  // another one goes in its place, at once
  };
  // Called by the engine's thread alone. The packet from its network header on; `other` is the one in its
  // place.
  virtual Verdict look(std::span<const char> packet, double level, std::string& other) = 0;
};

}  // namespace squall
