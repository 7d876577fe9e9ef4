#include "injector/host/match/endpoint_set.hpp"

#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fmt/format.h>

#include "injector/host/match/packet_headers.hpp"

namespace squall {
namespace {

constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::uint64_t word_at(const std::uint8_t* bytes) {
  std::uint64_t out;
  std::memcpy(&out, bytes, sizeof out);
  return out;
}

// The finalizer of MurmurHash3, which is in the public domain.
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ value >> 33) * 0xff51afd7ed558ccdULL;
  value = (value ^ value >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return value ^ value >> 33;
}

std::uint64_t hash_of(std::uint8_t protocol, const std::uint8_t* address, bool v6, std::uint16_t port) {
  const std::uint64_t end = std::uint64_t{port} << 8 | protocol;
  if (v6) return mixed(word_at(address) ^ mixed(word_at(address + 8) ^ end << 24));
  std::uint32_t v4;
  std::memcpy(&v4, address, sizeof v4);
  return mixed(std::uint64_t{v4} << 32 | end);
}

}  // namespace

Endpoint endpoint_of(std::uint8_t protocol, std::span<const std::uint8_t> address, std::uint16_t port) {
  Endpoint out{.protocol = protocol, .v6 = address.size() == 16, .address = {}, .port = port};
  if (out.v6 && std::memcmp(address.data(), mapped.data(), mapped.size()) == 0) {
    out.v6 = false;
    address = address.subspan(mapped.size());
  }
  std::memcpy(out.address.data(), address.data(), address.size());
  return out;
}

std::optional<Endpoint> endpoint_of(std::uint8_t protocol, const sockaddr* given) {
  if (given->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(given);
    return endpoint_of(protocol, {reinterpret_cast<const std::uint8_t*>(&v4->sin_addr), 4},
                       ntohs(v4->sin_port));
  }
  if (given->sa_family != AF_INET6) return {};
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(given);
  return endpoint_of(protocol, {v6->sin6_addr.s6_addr, 16}, ntohs(v6->sin6_port));
}

std::string to_string(const Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(endpoint.v6 ? AF_INET6 : AF_INET, endpoint.address.data(), text, sizeof text);
  return fmt::format(fmt::runtime(endpoint.v6 ? "{} [{}]:{}" : "{} {}:{}"),
                     endpoint.protocol == IPPROTO_UDP ? "udp" : "tcp", text, endpoint.port);
}

std::optional<Endpoint> parse_endpoint_of(std::string_view text) {
  const bool udp = text.starts_with("udp ");
  if (!udp && !text.starts_with("tcp ")) return {};
  text.remove_prefix(4);
  const auto colon = text.rfind(':');
  if (colon == text.npos) return {};
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto digits = text.substr(colon + 1);
  if (std::from_chars(digits.data(), digits.data() + digits.size(), port).ptr !=
          digits.data() + digits.size() ||
      port == 0)
    return {};
  std::array<std::uint8_t, 16> address{};
  const std::string name{host.substr(0, host.find('%'))};
  const std::uint8_t protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
  if (::inet_pton(AF_INET, name.c_str(), address.data()) == 1)
    return endpoint_of(protocol, {address.data(), 4}, port);
  if (::inet_pton(AF_INET6, name.c_str(), address.data()) == 1)
    return endpoint_of(protocol, {address.data(), 16}, port);
  return {};
}

EndpointSet::EndpointSet() : words_(std::make_unique<std::atomic<std::uint64_t>[]>(bits / 64)) {}

std::uint64_t EndpointSet::hash_of(const Endpoint& one) {
  return squall::hash_of(one.protocol, one.address.data(), one.v6, one.port);
}

// Most packets are of a connection that is known: then nothing is written that other processors would have to
// fetch.
void EndpointSet::add(std::uint64_t hash) {
  auto& word = words_[hash % bits / 64];
  const auto bit = std::uint64_t{1} << (hash % 64);
  if (!(word.load(std::memory_order_relaxed) & bit) && !(word.fetch_or(bit, std::memory_order_relaxed) & bit))
    added_.fetch_add(1, std::memory_order_relaxed);
}

bool EndpointSet::has(const Endpoint& one) const {
  const auto hash = hash_of(one);
  return words_[hash % bits / 64].load(std::memory_order_relaxed) >> (hash % 64) & 1;
}

void EndpointSet::add_ends_of(std::span<const char> packet) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(packet.data());
  if (packet.size() < 20) return;
  const bool v6 = bytes[0] >> 4 == 6;
  if (v6 && packet.size() < 40) return;
  const bool group = v6 ? bytes[24] == 0xff
                        : bytes[16] >> 4 == 14 || (bytes[16] & bytes[17] & bytes[18] & bytes[19]) == 0xff;
  // One thread adds: no other writes these.
  auto& count = group ? to_groups_ : to_one_;
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  const auto ends = ends_of(packet);
  if (!ends) return;
  add(squall::hash_of(ends->protocol, bytes + (v6 ? 8 : 12), v6, ends->ports.source));
  add(squall::hash_of(ends->protocol, bytes + (v6 ? 24 : 16), v6, ends->ports.destination));
}

}  // namespace squall
