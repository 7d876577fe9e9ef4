// A tap device that swallows the packets leaving a real one, and the packet socket that sends them on after
// their delay (tuntap in Documentation/networking, packet(7)). It is gone with us.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "injector/host/packets/packet_source.hpp"
#include "injector/system/process.hpp"

namespace squall {

class Tap : public PacketSource {
 public:
  // Makes the tap `name` in the thread's network namespace, with `alias` to recognise it by, for packets that
  // leave `interface`; those sent on carry `mark`. `segments`: large ones stay whole, as they would on that
  // device, else each packet comes as it is on the wire, with its checksums. Throws std::runtime_error.
  enum class Segments { whole, as_on_the_wire };
  Tap(const std::string& name, const std::string& alias, std::uint32_t interface, std::uint32_t mark,
      Segments = Segments::whole);
  // Returns once the device is gone for everybody.
  ~Tap() override;
  std::uint32_t index() const { return index_; }
  const std::string& name() const { return name_; }
  // What somebody did to it so that what is led to it is lost: "removed our device sq1t00"; "" where it takes
  // packets. From any thread in the namespace.
  std::string harm() const;
  // Packets that found its queue full, and are lost. From any thread in the namespace.
  std::uint64_t dropped() const;

  int fd() const override { return tap_.get(); }
  void note_ends(std::shared_ptr<EndpointSet> ends) override { ends_ = std::move(ends); }
  bool take(const std::function<void(HeldPacket&&)>&) override;
  bool let_go(HeldPacket&) override;
  void discard(HeldPacket&) override {}
  bool flush() override;
  void leave() override;
  std::uint64_t waiting() override { return unsent_; }
  std::uint64_t lost() const override { return lost_; }
  std::uint64_t found_full() const override { return refused_; }
  bool gone() const override { return gone_; }

 private:
  // What goes with the next flush.
  struct Gathered {
    std::unique_ptr<char[]> frame;
    std::uint32_t size = 0;
    bool large = false;
  };
  bool send_gathered();
  void forget_sent(std::size_t count);
  std::unique_ptr<char[]> spare();
  void open_tap(const std::string& name, Segments);
  void raise(const std::string& alias);
  void open_way_out(std::uint32_t interface, std::uint32_t mark);
  bool lead_to(std::uint32_t interface);
  // Since Linux 6.16 rules on a device that vanished are put on the next one of its name, whose packets come
  // here then.
  bool lead_to_successor();

  std::string name_;
  Fd tap_, out_;
  std::string device_;  // by which packets leave
  std::uint32_t index_ = 0, interface_ = 0;
  unsigned char address_[6] = {};
  // Large frames are passed on as they are, not copied: what they lie in, and what is free of that.
  std::unique_ptr<char[]> buffer_, overlong_;
  std::vector<std::unique_ptr<char[]>> spare_;
  std::vector<Gathered> gathered_;
  std::shared_ptr<EndpointSet> ends_;
  std::atomic<std::uint64_t> unsent_ = 0;  // of them, when the last flush was over
  std::atomic<std::uint64_t> lost_ = 0, refused_ = 0;
  std::atomic<bool> gone_ = false;
};

}  // namespace squall
