// Sends whole IP packets as they are (raw(7)), from any source address.
#pragma once

#include <cstdint>
#include <span>

#include "injector/system/process.hpp"

namespace squall {

// In the network namespace of the thread that makes it.
class RawSender {
 public:
  // What it sends carries the mark. Throws std::runtime_error where refused.
  explicit RawSender(std::uint32_t mark);
  // From the network header on. A packet to this host arrives by the loopback device. False where it could
  // not be sent.
  bool send(std::span<const char> packet);

 private:
  Fd v4_, v6_;
};

}  // namespace squall
