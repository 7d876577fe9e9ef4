// The queueing discipline that impairs packets (tc-netem(8)), and the one that limits their rate behind it
// (tc-tbf(8)), by messages of our own: libnl 3.7 keeps delays in 32 bits of ticks, which wrap at 275 s, lacks
// the loss models, and reads distributions from files.
#pragma once

#include <optional>
#include <string>

#include "injector/host/impairments/impairment.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/tc/traffic_control.hpp"

namespace squall::traffic_control {

// The message that puts netem at the root of a device, or changes it there. `level` is the part of the whole.
netlink::Messages netem_message(std::uint32_t interface, const Impairment&, double level, std::uint32_t limit,
                                bool change);
// The one that puts tbf behind it, or changes it there.
netlink::Messages rate_message(std::uint32_t interface, const RateShape&, double level, bool change);

struct Netem {
  std::int64_t delay_ns = 0, jitter_ns = 0;
  double loss = 0, duplicate = 0, corrupt = 0, reorder = 0;  // shares; loss: each packet's for itself
  bool loss_model = false;
  std::uint32_t limit = 0, waiting = 0;
  // Packets as on the wire: a large segment counts as those that it is cut into. Dropped ones and those that
  // wait are counted whole.
  std::uint64_t packets = 0, dropped = 0;
};
// What the kernel says of the netem at a device's root; nothing where there is none.
std::optional<Netem> read_netem(std::uint32_t interface);

// What of that is not as it was asked for; "" where all is.
std::string unlike(const Netem&, const Impairment&, double level);

struct Tbf {
  std::uint64_t bytes_per_second = 0, bytes = 0, packets = 0, dropped = 0,
                held_back = 0;  // held back: packets that waited
  std::uint32_t waiting = 0;
};
std::optional<Tbf> read_tbf(std::uint32_t interface);

// Sets and reads back; throws std::runtime_error where refused, or where the kernel understood something
// else.
void set_netem(const std::string& device, const Impairment&, double level, std::uint32_t limit, bool change);

// The verb: netem at the root of a device of ours, with which it goes. `level` is read when it acts.
void add_netem(Transaction&, const Place&, const std::string& device, const Impairment&, std::uint32_t limit,
               std::shared_ptr<double> level);

}  // namespace squall::traffic_control
