#include "injector/host/match/packet_headers.hpp"

#include <functional>
#include <initializer_list>
#include <string>
#include <utility>

#include <netinet/in.h>

namespace squall {

namespace {

struct Header {
  std::size_t size = 0;
  std::uint8_t protocol = 0;  // of what follows it
};

std::uint8_t byte(std::span<const char> packet, std::size_t at) {
  return static_cast<std::uint8_t>(packet[at]);
}
std::uint16_t word(std::span<const char> packet, std::size_t at) {
  return static_cast<std::uint16_t>(byte(packet, at) << 8 | byte(packet, at + 1));
}

bool is_extension(std::uint8_t protocol) {
  return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
         protocol == IPPROTO_FRAGMENT;
}

Header header_of(std::span<const char> packet) {
  constexpr std::size_t least_v4 = 20, fixed_v6 = 40;
  if (packet.size() >= least_v4 && byte(packet, 0) >> 4 == 4) {
    const std::size_t size = 4 * (byte(packet, 0) & 15U);
    if (size < least_v4 || size > packet.size()) return {};
    return {size, byte(packet, 9)};
  }
  if (packet.size() < fixed_v6 || byte(packet, 0) >> 4 != 6) return {};
  Header out{fixed_v6, byte(packet, 6)};
  while (is_extension(out.protocol) && out.size + 8 <= packet.size()) {
    const std::size_t size = out.protocol == IPPROTO_FRAGMENT ? 8 : 8 * (byte(packet, out.size + 1) + 1U);
    if (out.size + size > packet.size()) break;
    out = {out.size + size, byte(packet, out.size)};
  }
  return out;
}

}  // namespace

std::size_t network_header_size(std::span<const char> packet) {
  return header_of(packet).size;
}

std::optional<Piece> piece_of(std::span<const char> packet) {
  constexpr std::size_t v4_header = 20, v6_header = 40, fragment_header = 8;
  const auto mixed = [&](std::initializer_list<std::pair<std::size_t, std::size_t>> parts) {
    std::string key;
    for (auto [at, size] : parts)
      key.append(packet.data() + at, size);
    return std::hash<std::string>{}(key) | 1;
  };
  if (packet.size() >= v4_header && byte(packet, 0) >> 4 == 4) {
    const auto place = word(packet, 6);
    if (!(place & 0x3fff)) return {};
    return Piece{mixed({{12, 8}, {4, 2}, {9, 1}}), !(place & 0x1fff)};
  }
  if (packet.size() < v6_header + fragment_header || byte(packet, 0) >> 4 != 6 ||
      byte(packet, 6) != IPPROTO_FRAGMENT)
    return {};
  const auto place = word(packet, v6_header + 2);
  if (!(place & 0xfff9)) return {};
  return Piece{mixed({{8, 32}, {v6_header + 4, 4}}), !(place & 0xfff8)};
}

std::optional<Ports> ports_of(std::span<const char> packet) {
  const auto header = header_of(packet);
  if (header.size == 0 || header.size + 4 > packet.size() ||
      (header.protocol != IPPROTO_TCP && header.protocol != IPPROTO_UDP))
    return {};
  return Ports{word(packet, header.size), word(packet, header.size + 2)};
}

std::optional<Ends> ends_of(std::span<const char> packet) {
  constexpr std::uint16_t offset = 0x1fff;
  if (packet.size() >= 20 && byte(packet, 0) >> 4 == 4 && word(packet, 6) & offset) return {};
  const auto header = header_of(packet);
  if (header.size == 0 || header.size + 4 > packet.size() ||
      (header.protocol != IPPROTO_TCP && header.protocol != IPPROTO_UDP))
    return {};
  return Ends{header.protocol, {word(packet, header.size), word(packet, header.size + 2)}};
}

}  // namespace squall
