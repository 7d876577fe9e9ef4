// Ends of connections: which of them something came across, remembered in memory of a fixed size.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct sockaddr;

namespace squall {

// An address and a port of TCP or UDP. An IPv4 address that an IPv6 socket has (::ffff:10.0.0.1) is that IPv4
// address.
struct Endpoint {
  std::uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP
  bool v6 = false;
  std::array<std::uint8_t, 16> address{};  // IPv4 uses the first four bytes
  std::uint16_t port = 0;
  bool operator==(const Endpoint&) const = default;
};
// "tcp 10.0.0.1:4711", "udp [fd00::1]:53", as the protocol has them.
std::string to_string(const Endpoint&);
std::optional<Endpoint> parse_endpoint_of(std::string_view);
std::optional<Endpoint> endpoint_of(std::uint8_t protocol, const sockaddr*);
// From an address in network byte order, of 4 or 16 bytes.
Endpoint endpoint_of(std::uint8_t protocol, std::span<const std::uint8_t> address, std::uint16_t port);

// Takes any number of endpoints and forgets none. Of those that it was never given it knows a few by mistake:
// one in a hundred where it was given 40,000. Written by one thread or several, read by others.
class EndpointSet {
 public:
  EndpointSet();
  void add(const Endpoint& endpoint) { add(hash_of(endpoint)); }
  // Both ends of a packet of TCP or UDP that begins with its network header; of others nothing. Counts where
  // they go.
  void add_ends_of(std::span<const char> packet);
  // Packets to one receiver each, and those to groups (multicast, broadcast), as hosts send them unasked.
  std::uint64_t to_one() const { return to_one_; }
  std::uint64_t to_groups() const { return to_groups_; }
  bool has(const Endpoint&) const;
  // How many different ones it was given, less those that it took for another.
  std::uint64_t added() const { return added_; }

 private:
  static constexpr std::size_t bits = std::size_t{1} << 22;
  static std::uint64_t hash_of(const Endpoint&);
  void add(std::uint64_t hash);

  std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
  std::atomic<std::uint64_t> to_one_ = 0, to_groups_ = 0, added_ = 0;
};

}  // namespace squall
