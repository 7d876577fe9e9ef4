#include "injector/host/match/packet_match.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace squall {

std::array<std::uint8_t, 16> Prefix::mask() const {
  std::array<std::uint8_t, 16> out{};
  for (unsigned bit = 0; bit < length; ++bit)
    out[bit / 8] |= static_cast<std::uint8_t>(0x80 >> (bit % 8));
  return out;
}

bool Prefix::covers(const Prefix& other) const {
  if (v6 != other.v6 || length > other.length) return false;
  const auto bits = mask();
  for (std::size_t i = 0; i < bits.size(); ++i)
    if ((other.address[i] & bits[i]) != address[i]) return false;
  return true;
}

tl::expected<Prefix, std::string> parse_prefix(std::string_view text) {
  const auto wrong = [&] {
    return tl::unexpected(
        fmt::format("expected an address or a network such as 10.0.0.0/8 or fd00::/8, got \"{}\"", text));
  };
  Prefix out;
  const auto slash = text.find('/');
  const std::string address{text.substr(0, slash)};
  if (::inet_pton(AF_INET, address.c_str(), out.address.data()) == 1)
    out.length = 32;
  else if (::inet_pton(AF_INET6, address.c_str(), out.address.data()) == 1)
    out.v6 = true, out.length = 128;
  else
    return wrong();
  if (slash != std::string_view::npos) {
    const auto bits = text.substr(slash + 1);
    unsigned length = 0;
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), length);
    if (error != std::errc{} || end != bits.data() + bits.size() || length > out.length) return wrong();
    out.length = length;
  }
  // Sockets write an IPv4 peer so where they speak both; no packet does.
  constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (out.v6 && out.length >= 96 && std::equal(mapped.begin(), mapped.end(), out.address.begin())) {
    std::copy(out.address.begin() + 12, out.address.end(), out.address.begin());
    std::fill(out.address.begin() + 4, out.address.end(), std::uint8_t{0});
    out.v6 = false;
    out.length -= 96;
  }
  const auto mask = out.mask();
  for (std::size_t i = 0; i < 16; ++i)
    out.address[i] &= mask[i];
  return out;
}

std::string to_string(const Prefix& prefix) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(prefix.v6 ? AF_INET6 : AF_INET, prefix.address.data(), text, sizeof text);
  return prefix.length == 8 * prefix.bytes() ? text : fmt::format("{}/{}", text, prefix.length);
}

tl::expected<std::vector<Prefix>, std::string> resolve_peers(const std::string& text) {
  if (auto prefix = parse_prefix(text)) return std::vector{*prefix};
  // What looks like a number or a network is a slip, not a name to ask a DNS server for.
  if (text.empty() || text.find_first_of("/:") != std::string::npos ||
      text.find_first_not_of("0123456789.") == std::string::npos)
    return tl::unexpected(parse_prefix(text).error());
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int error = ::getaddrinfo(text.c_str(), nullptr, &hints, &found);
  if (error) return tl::unexpected(fmt::format("look up the host \"{}\": {}", text, ::gai_strerror(error)));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, ::freeaddrinfo};
  std::vector<Prefix> out;
  for (auto* one = found; one; one = one->ai_next) {
    Prefix prefix;
    if (one->ai_family == AF_INET) {
      prefix.length = 32;
      std::memcpy(prefix.address.data(), &reinterpret_cast<const sockaddr_in*>(one->ai_addr)->sin_addr, 4);
    } else if (one->ai_family == AF_INET6) {
      prefix.v6 = true, prefix.length = 128;
      std::memcpy(prefix.address.data(), &reinterpret_cast<const sockaddr_in6*>(one->ai_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    if (std::find(out.begin(), out.end(), prefix) == out.end()) out.push_back(prefix);
  }
  return out;
}

namespace {
std::string_view side_text(Side side, std::string_view either, std::string_view source,
                           std::string_view destination) {
  return side == Side::either ? either : side == Side::source ? source : destination;
}
}  // namespace

bool has_ports(Protocol protocol) {
  return protocol == Protocol::any || protocol == Protocol::tcp || protocol == Protocol::udp ||
         protocol == Protocol::sctp;
}

std::string to_string(Protocol protocol) {
  for (auto& [name, known] : protocol_names)
    if (known == protocol) return std::string(name);
  return fmt::format("protocol {}", static_cast<unsigned>(protocol));
}

std::vector<std::uint8_t> protocols_of(const PacketMatch& match, bool v6) {
  if (match.protocol == Protocol::icmp)
    return {v6 ? std::uint8_t{IPPROTO_ICMPV6} : std::uint8_t{IPPROTO_ICMP}};
  if (match.protocol != Protocol::any) return {static_cast<std::uint8_t>(match.protocol)};
  if (!match.ports.empty()) return {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
  return {};
}

std::string to_string(const PacketMatch& match, bool every_peer) {
  constexpr std::size_t shown = 4;
  std::vector<std::string> parts;
  if (!match.peers.empty()) {
    std::vector<std::string> peers;
    for (auto& peer : match.peers)
      peers.push_back(to_string(peer));
    if (!every_peer && peers.size() > 2 * shown) {
      peers.resize(shown);
      peers.push_back(fmt::format("others, {} peers in all", match.peers.size()));
    }
    parts.push_back(
        fmt::format("{} {}", side_text(match.peer, "to or from", "from", "to"), fmt::join(peers, " or ")));
  }
  for (auto& condition : match.ports)
    parts.push_back(fmt::format("{} {}", side_text(condition.side, "port", "from port", "to port"),
                                fmt::join(condition.ports, " or ")));
  if (match.protocol != Protocol::any) parts.push_back(to_string(match.protocol));
  if (!match.left_out.empty()) {
    std::vector<std::string> peers;
    for (auto& peer : match.left_out)
      peers.push_back(to_string(peer));
    parts.push_back(fmt::format("but not {} {}", side_text(match.peer, "to or from", "from", "to"),
                                fmt::join(peers, " or ")));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace squall
