// What our own queue has to know of a packet's headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace squall {

// How long the header of IPv4 or IPv6 is at the beginning of these bytes, options and extensions included; 0
// where they are neither, or too few.
std::size_t network_header_size(std::span<const char> packet);

// A piece of an IP packet that was cut on its way.
struct Piece {
  std::uint64_t packet = 0;  // what all pieces of that packet have in common; never 0
  bool first = false;        // which has the ports, if any has
};
// Nothing where it is a whole packet. Of IPv6, where the header of fragments is the first behind its own.
std::optional<Piece> piece_of(std::span<const char> packet);

struct Ports {
  std::uint16_t source = 0, destination = 0;
};
// Of TCP and UDP.
std::optional<Ports> ports_of(std::span<const char> packet);
struct Ends {
  std::uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP
  Ports ports;
};
// The same, but not of a fragment behind the first, which has no ports.
std::optional<Ends> ends_of(std::span<const char> packet);

}  // namespace squall
