// How long packets take from one device to another, seen from outside: both are listened to (packet(7)), and
// a packet is known again by its bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/system/process.hpp"

namespace squall {

class PacketTimes {
 public:
  static constexpr std::uint32_t headers = 128, longest = 2048;
  // Packets are told apart by so many bytes. Opens the sockets in the caller's network namespace, which needs
  // CAP_NET_RAW; throws std::runtime_error where refused. Timestamps are on some milliseconds later, so this
  // is best done early.
  explicit PacketTimes(std::uint32_t bytes = headers);
  ~PacketTimes();
  PacketTimes(const PacketTimes&) = delete;
  PacketTimes& operator=(const PacketTimes&) = delete;

  // What passes these devices is seen from now on; throws std::runtime_error where there are none such.
  void listen(const std::string& before, const std::string& after);
  // The ends of the packets that are looked at are noted there.
  void note_ends(std::shared_ptr<EndpointSet> ends) { ends_ = std::move(ends); }
  // Calls with the times (CLOCK_REALTIME in nanoseconds) of each packet that was seen at both since the last
  // call. Of very many packets a part is looked at only: the same at both.
  void each(const std::function<void(std::int64_t before, std::int64_t after)>&);
  // How many packets were seen behind and not before: their bytes are other ones. Some hundred milliseconds
  // late.
  std::uint64_t altered() const { return altered_; }
  // Of so many packets one is looked at.
  unsigned one_in() const { return one_in_; }

 private:
  struct Seen {
    std::uint64_t packet = 0;
    std::int64_t at = 0;
  };
  std::size_t take(const Fd&, std::deque<Seen>&);
  void look_at_fewer();

  Fd before_, after_;
  std::shared_ptr<EndpointSet> ends_;
  std::unordered_map<std::uint64_t, std::deque<std::int64_t>>
      waiting_;  // packet to the times it was sent: alike ones in turn
  std::size_t waiting_count_ = 0;
  std::deque<Seen> early_;  // seen behind, not yet before
  unsigned one_in_ = 1;
  std::uint32_t bytes_;
  std::uint64_t altered_ = 0;
};

}  // namespace squall
