// A packet queue of the kernel (NFQUEUE, nfnetlink_queue): packets wait in the kernel for our verdict.
#pragma once

#include <array>
#include <atomic>
#include <vector>

#include "injector/host/netlink.hpp"
#include "injector/host/packet_source.hpp"

namespace squall {

class PacketQueue : public PacketSource {
 public:
  // Binds a free queue of the thread's network namespace, looking from `start` on. When `longest` packets wait already,
  // further ones pass at once (fail open). Throws std::runtime_error.
  PacketQueue(std::uint16_t start, std::uint32_t longest);
  std::uint16_t number() const { return number_; }

  int fd() const override { return socket_.fd(); }
  bool take(const std::function<void(HeldPacket&&)>&) override;
  bool let_go(HeldPacket&) override;
  void flush() override;
  std::uint64_t waiting() override;
  std::uint64_t lost() const override { return lost_; }

 private:
  void configure(std::uint32_t longest);
  void read_message(const struct nlmsghdr*, const std::function<void(HeldPacket&&)>&);

  netlink::Socket socket_;
  Fd stamps_;
  std::uint16_t number_ = 0;
  std::vector<char> verdicts_;
  std::int64_t now_ = 0, wall_ahead_ = 0;
  std::vector<std::array<char, 512>> buffers_;
  std::atomic<std::uint64_t> lost_ = 0;
};

}  // namespace squall
