// A packet queue of the kernel (NFQUEUE, nfnetlink_queue): packets wait in the kernel for our verdict.
#pragma once

#include <atomic>
#include <vector>

#include <sys/socket.h>

#include <boost/circular_buffer.hpp>

#include "injector/host/match/packet_match.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/packets/packet_source.hpp"
#include "injector/host/packets/raw_sender.hpp"

namespace squall {

// Which way the packets of a queue go. What arrives by the loopback device has left by it just before: there
// it goes out, unless it waits for its receiver (NF_INET_LOCAL_IN), or has none of the ports that packets
// going out have.
struct QueueWays {
  std::optional<Way> all;  // all the same way
  std::vector<PortCondition> out_on_loopback;
};
Way way_of(const QueueWays&, std::uint8_t hook, std::uint32_t device, std::span<const char> packet);

class PacketQueue : public PacketSource {
 public:
  using Keep = std::function<void(HeldPacket&&)>;
  // Binds a free queue of the thread's network namespace, looking from `start` on. When `longest` packets
  // wait already, further ones pass at once (fail open). Throws std::runtime_error.
  enum class Take {
    notice,  // that there is a packet; large segments stay whole
    each,    // packets as they are on the wire, and their length
    bytes,   // their bytes as well
  };
  // What is sent besides carries the mark. `pieces`: packets tell of which one they are a piece.
  PacketQueue(std::uint16_t start, std::uint32_t longest, std::uint32_t mark, Take = Take::notice,
              QueueWays = {}, bool pieces = false);
  ~PacketQueue() override;
  std::uint16_t number() const { return number_; }
  // Packets that were to wait but passed at once: those that found the queue full, `matched` being all that
  // were sent there, and those that the kernel could not tell us of. From any thread in the namespace.
  std::uint64_t passed(std::uint64_t matched);

  void begin() override;
  void note_ends(std::shared_ptr<EndpointSet>) override;
  int fd() const override { return socket_.fd(); }
  bool take(const Keep&) override;
  void sample_one_in(unsigned) override;
  std::uint64_t interpolated() const override { return interpolated_; }
  bool let_go(HeldPacket&) override;
  void discard(HeldPacket&) override;
  bool flush() override;
  std::uint64_t waiting() override;
  std::uint64_t lost() const override { return lost_; }
  bool stamps() const override { return true; }
  bool header_is_checked() const override { return true; }

 private:
  struct State {
    std::uint64_t waiting = 0, sequence = 0;
  };
  State state() const;
  void configure(std::uint32_t longest);
  void judge(const HeldPacket&, std::uint32_t verdict);
  void settle();
  void send_verdicts();
  void put(std::uint16_t message, std::uint32_t id, std::uint32_t verdict, std::uint32_t packets,
           const HeldPacket* changed = nullptr);
  void read_message(const struct nlmsghdr*, const Keep&);
  std::int64_t entered(std::int64_t stamp) const;
  void hear(HeldPacket&&, const Keep&);
  // Those after the last one up to `last`, a step of time after another.
  void interpolate(std::uint32_t last, std::int64_t step, const Keep&);
  void interpolate_rest(const Keep&);

  netlink::Socket socket_;
  Fd stamps_, states_;
  std::uint16_t number_ = 0;
  std::shared_ptr<std::atomic<int>> beside_;  // queues of this network namespace, this one too
  std::uint32_t mark_ = 0;
  std::vector<char> verdicts_;
  // From the first packet that waits for its verdict to the last that we know of.
  enum class Fate : char { waits, accepted, judged };
  void number(std::uint32_t id, Fate);
  boost::circular_buffer<Fate> fates_{1024};
  std::uint32_t first_id_ = 1;
  std::vector<std::uint32_t> accepted_;  // since the last verdicts
  std::int64_t now_ = 0, empty_at_ = 0, wall_ahead_ = 0;
  Take take_;
  QueueWays ways_;
  bool pieces_ = false;
  std::vector<char> buffers_;  // `batch` of them
  std::vector<iovec> parts_;
  std::vector<mmsghdr> messages_;
  std::size_t buffer_size_ = 0;
  std::unique_ptr<RawSender> sender_;
  std::uint32_t longest_ = 0;
  std::shared_ptr<EndpointSet> ends_;
  std::uint32_t last_id_ = 0;
  std::int64_t last_entered_ = 0, pace_ns_ = 0;
  unsigned one_in_ = 1;
  std::uint32_t unsampled_until_ = 0;  // of those up to here some may wait of which we were not told
  bool rest_ = false;                  // and they may be the last ones
  std::atomic<std::uint64_t> lost_ = 0, untold_ = 0, interpolated_ = 0;
};

}  // namespace squall
