// Which packets a network fault means; the same description becomes nf_tables rules or a classic BPF program.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace squall {

// An address with the number of its leading bits that count. IPv4 uses the first four bytes.
struct Prefix {
  bool v6 = false;
  std::array<std::uint8_t, 16> address{};
  unsigned length = 0;
  bool operator==(const Prefix&) const = default;
  std::size_t bytes() const { return v6 ? 16 : 4; }
  std::array<std::uint8_t, 16> mask() const;
  bool covers(const Prefix&) const;
};

// "10.0.0.0/8", "fd00::1"; bits behind the length are cleared. Errors say what was expected.
tl::expected<Prefix, std::string> parse_prefix(std::string_view);
std::string to_string(const Prefix&);
// The same, or a host name with all its addresses (getaddrinfo(3), which may ask a DNS server).
tl::expected<std::vector<Prefix>, std::string> resolve_peers(const std::string&);

// By its number (IANA); icmp is that of either family.
enum class Protocol : std::uint16_t {
  icmp = 1,
  tcp = 6,
  udp = 17,
  gre = 47,
  esp = 50,
  ah = 51,
  sctp = 132,
  any = 256
};
constexpr std::array<std::pair<std::string_view, Protocol>, 8> protocol_names{{{"any", Protocol::any},
                                                                               {"tcp", Protocol::tcp},
                                                                               {"udp", Protocol::udp},
                                                                               {"icmp", Protocol::icmp},
                                                                               {"sctp", Protocol::sctp},
                                                                               {"gre", Protocol::gre},
                                                                               {"esp", Protocol::esp},
                                                                               {"ah", Protocol::ah}}};
std::string to_string(Protocol);  // "tcp", "protocol 89"
bool has_ports(Protocol);
enum class Side { either, source, destination };

struct PortCondition {
  std::vector<std::uint16_t> ports;  // any of them
  Side side = Side::either;
  bool operator==(const PortCondition&) const = default;
};

// IPv4 and IPv6 packets for which all of this holds. ARP and neighbour discovery are never among them.
struct PacketMatch {
  std::vector<Prefix> peers;  // any of them; empty: every peer
  Side peer = Side::destination;
  std::vector<PortCondition> ports;  // each of them; TCP, UDP and SCTP alone have ports
  Protocol protocol = Protocol::any;
  std::vector<std::uint16_t> exempt;  // TCP ports, on either side, that carry control
  std::vector<Prefix> exempt_peers;
  std::vector<Prefix> left_out;  // peers that whoever asked for it wants left alone
  bool operator==(const PacketMatch&) const = default;
};

// The transport protocols of packets that match; none: every one.
std::vector<std::uint8_t> protocols_of(const PacketMatch&, bool v6);

// "to 10.0.0.0/8, port 6379, tcp"; empty where every packet matches. Of many peers only some are named, with
// their number, unless all are wanted.
std::string to_string(const PacketMatch&, bool every_peer = false);

}  // namespace squall
