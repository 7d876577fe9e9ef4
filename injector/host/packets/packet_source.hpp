// Where held packets come from and go back to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace squall {

class EndpointSet;
class PacketSource;

// Seen from the target. What is random or limited is so in each direction for itself.
enum class Way : unsigned char { out, in };

// A packet that waits. Its bytes are here (frame), or in the kernel (id).
struct HeldPacket {
  std::int64_t due = 0;      // CLOCK_MONOTONIC, ns
  std::uint64_t order = 0;   // of arrival; breaks ties
  std::int64_t entered = 0;  // CLOCK_MONOTONIC, ns
  std::uint32_t id = 0;
  std::uint32_t size = 0, content = 0;  // of frame, and where in it the network header begins
  std::uint32_t capacity = 0;           // what frame takes of memory
  std::uint32_t wire_bytes = 0;         // with its link header; 0: not known
  std::unique_ptr<char[]> frame;
  PacketSource* source = nullptr;
  Way way = Way::out;
  std::int64_t queued = 0;     // of the time until due, what a limited rate adds
  std::uint64_t piece = 0;     // of which packet it is a piece; 0: of none, or nobody asked
  std::int64_t drawn_ns = -1;  // the delay that was drawn for it, of the whole dose; below 0: none yet
  bool later_piece = false;    // not the first
  bool full_level = false;
  bool changed = false;  // frame is not what came
  bool copy = false;     // a second one of a packet that goes its own way
};

// Called by the engine's thread alone, unless said otherwise.
class PacketSource {
 public:
  virtual ~PacketSource() = default;
  // Once, before anything else.
  virtual void begin() {}
  // Readable when packets wait; not blocking.
  virtual int fd() const = 0;
  // Hands over what is there, a bounded number at a time; false where nothing was left.
  virtual bool take(const std::function<void(HeldPacket&&)>&) = 0;
  // The ends of the packets that come are noted there; before anything else. Of those that are not looked at
  // they are not.
  virtual void note_ends(std::shared_ptr<EndpointSet>) {}
  // Of so many packets, a power of two, it is enough to look at one; when the others came is interpolated.
  // They are handed over all the same, in order, and those that are still owed by the next `take` once it is
  // 1 again.
  virtual void sample_one_in(unsigned) {}
  virtual std::uint64_t interpolated() const { return 0; }
  // Lets a packet go on its way; may gather until flush. False: it cannot go now and stays the caller's.
  virtual bool let_go(HeldPacket&) = 0;
  // Drops a packet, silently as a network does; nothing where it is a copy.
  virtual void discard(HeldPacket&) = 0;
  // False where some of those gathered cannot go now: it keeps them, and takes no more until they have gone.
  virtual bool flush() = 0;
  // Begins what its destructor waits for; nothing else is asked of it afterwards. From any thread.
  virtual void leave() {}
  // Packets that the kernel still keeps for us and has not handed over, or that we have not let go. From any
  // thread.
  virtual std::uint64_t waiting() = 0;
  // Packets lost since the start: the queue was full, or somebody made the kernel drop what waited.
  virtual std::uint64_t lost() const = 0;
  // Packets that the queue of the device they were to leave by had no room for.
  virtual std::uint64_t found_full() const { return 0; }
  // Whether it was taken from us: no packet comes from it any more. From any thread.
  virtual bool gone() const { return false; }
  // Whether packets tell when they came, however late they are taken.
  virtual bool stamps() const { return false; }
  // Whether the kernel has looked at the checksum of the network's header before, and will not again.
  virtual bool header_is_checked() const { return false; }
};

}  // namespace squall
