// How long packets take from one device to another, seen from outside: both are listened to (packet(7)), and a packet is
// known again by its bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <deque>
#include <string>
#include <unordered_map>

#include "injector/host/process.hpp"

namespace squall {

class PacketTimes {
 public:
  // Opens the sockets in the caller's network namespace, which needs CAP_NET_RAW; throws std::runtime_error where refused.
  // Timestamps are on some milliseconds later, so this is best done early.
  PacketTimes();
  ~PacketTimes();
  PacketTimes(const PacketTimes&) = delete;
  PacketTimes& operator=(const PacketTimes&) = delete;

  // What passes these devices is seen from now on; throws std::runtime_error where there are none such.
  void listen(const std::string& before, const std::string& after);
  // Calls with the times (CLOCK_REALTIME in nanoseconds) of each packet that was seen at both since the last call. Of very
  // many packets a part is looked at only: the same at both.
  void each(const std::function<void(std::int64_t before, std::int64_t after)>&);

 private:
  struct Seen {
    std::uint64_t packet = 0;
    std::int64_t at = 0;
  };
  std::size_t take(const Fd&, std::deque<Seen>&);
  void look_at_fewer();

  Fd before_, after_;
  std::unordered_map<std::uint64_t, std::deque<std::int64_t>> waiting_;  // packet to the times it was sent: alike ones in turn
  std::size_t waiting_count_ = 0;
  std::deque<Seen> early_;  // seen behind, not yet before
  unsigned one_in_ = 1;
};

}  // namespace squall
