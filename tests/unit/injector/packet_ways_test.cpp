// Which way a packet goes, and what is read of its headers for that.
#include <string>

#include <netinet/in.h>

#include <linux/netfilter.h>

#include <gtest/gtest.h>

#include "injector/host/match/packet_headers.hpp"
#include "injector/host/packets/packet_queue.hpp"

namespace squall {
namespace {

constexpr std::uint32_t lo = 1, eth = 2;

std::string ports(std::uint16_t source, std::uint16_t destination) {
  return {static_cast<char>(source >> 8), static_cast<char>(source), static_cast<char>(destination >> 8),
          static_cast<char>(destination)};
}

std::string v4(std::uint8_t protocol, const std::string& content, std::size_t words = 5) {
  std::string out(4 * words, '\0');
  out[0] = static_cast<char>(0x40 | words);
  out[9] = static_cast<char>(protocol);
  return out + content;
}

std::string v6(std::uint8_t next, const std::string& content) {
  std::string out(40, '\0');
  out[0] = 0x60;
  out[6] = static_cast<char>(next);
  return out + content;
}

TEST(PacketHeaders, are_as_long_as_they_say) {
  EXPECT_EQ(network_header_size(v4(IPPROTO_UDP, "12345678")), 20U);
  EXPECT_EQ(network_header_size(v4(IPPROTO_UDP, "12345678", 7)), 28U);
  EXPECT_EQ(network_header_size(v6(IPPROTO_UDP, "12345678")), 40U);
  const std::string hops{static_cast<char>(IPPROTO_TCP), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(network_header_size(v6(IPPROTO_HOPOPTS, hops + "rest")), 56U);
  EXPECT_EQ(network_header_size(v4(IPPROTO_UDP, "").substr(0, 19)), 0U);
  EXPECT_EQ(network_header_size(""), 0U);
  EXPECT_EQ(ports_of(v6(IPPROTO_HOPOPTS, hops + ports(7, 443)))->destination, 443);
  EXPECT_FALSE(ports_of(v4(IPPROTO_ICMP, ports(7, 443))));
  EXPECT_FALSE(ports_of(v4(IPPROTO_TCP, "12")));
}

TEST(PacketHeaders, tell_of_which_packet_one_is_a_piece) {
  auto first = v4(IPPROTO_UDP, ports(7, 443)), later = v4(IPPROTO_UDP, "rest"), other = later, whole = first;
  first[5] = later[5] = 9;
  first[6] = 0x20;
  later[7] = other[7] = 1;
  whole[6] = 0x40;  // not to be cut
  EXPECT_FALSE(piece_of(whole));
  ASSERT_TRUE(piece_of(first) && piece_of(later) && piece_of(other));
  EXPECT_TRUE(piece_of(first)->first);
  EXPECT_FALSE(piece_of(later)->first);
  EXPECT_EQ(piece_of(first)->packet, piece_of(later)->packet);
  EXPECT_NE(piece_of(first)->packet, piece_of(other)->packet);
  const std::string more{IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 9}, last{IPPROTO_UDP, 0, 5, 0, 0, 0, 0, 9},
      alone{IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 9};
  EXPECT_TRUE(piece_of(v6(IPPROTO_FRAGMENT, more))->first);
  EXPECT_FALSE(piece_of(v6(IPPROTO_FRAGMENT, last))->first);
  EXPECT_EQ(piece_of(v6(IPPROTO_FRAGMENT, more))->packet, piece_of(v6(IPPROTO_FRAGMENT, last))->packet);
  EXPECT_FALSE(piece_of(v6(IPPROTO_FRAGMENT, alone))) << "one piece is all of it";
  EXPECT_FALSE(piece_of(v6(IPPROTO_UDP, ports(7, 443))));
}

TEST(PacketWays, follow_from_the_hook_the_device_and_on_loopback_the_ports) {
  EXPECT_EQ(way_of({Way::in, {}}, NF_INET_PRE_ROUTING, lo, {}), Way::in);
  const QueueWays any;
  EXPECT_EQ(way_of(any, NF_INET_PRE_ROUTING, eth, {}), Way::in);
  EXPECT_EQ(way_of(any, NF_INET_PRE_ROUTING, lo, {}), Way::out);
  EXPECT_EQ(way_of(any, NF_INET_LOCAL_IN, lo, {}), Way::in);
  const QueueWays to_port{{}, {{{6379, 6380}, Side::destination}}}, of_listener{{}, {{{6379}, Side::source}}};
  const auto request = v4(IPPROTO_TCP, ports(50'000, 6379)), answer = v6(IPPROTO_TCP, ports(6379, 50'000));
  EXPECT_EQ(way_of(to_port, NF_INET_PRE_ROUTING, lo, request), Way::out);
  EXPECT_EQ(way_of(to_port, NF_INET_PRE_ROUTING, lo, answer), Way::in);
  EXPECT_EQ(way_of(to_port, NF_INET_PRE_ROUTING, eth, request), Way::in);
  EXPECT_EQ(way_of(of_listener, NF_INET_PRE_ROUTING, lo, request), Way::in);
  EXPECT_EQ(way_of(of_listener, NF_INET_PRE_ROUTING, lo, answer), Way::out);
}

}  // namespace
}  // namespace squall
