// Ends of connections: as the protocol has them, as packets have them, and remembered.
#include "injector/host/match/endpoint_set.hpp"

#include <vector>

#include <netinet/in.h>

#include <gtest/gtest.h>

namespace squall {
namespace {

Endpoint end(const char* text) {
  return parse_endpoint_of(text).value();
}

TEST(Endpoint, is_read_as_it_is_written) {
  for (auto* text : {"tcp 10.0.0.1:4711", "udp 192.0.2.255:53", "tcp [fd00::1]:80"})
    EXPECT_EQ(to_string(end(text)), text);
  EXPECT_EQ(to_string(end("tcp [fe80::1%eth0]:80")), "tcp [fe80::1]:80");
  for (auto* text : {"", "tcp", "10.0.0.1:80", "tcp 10.0.0.1", "tcp 10.0.0.1:0", "tcp 10.0.0.1:70000",
                     "tcp 10.0.0.1:80x", "tcp example.org:80", "sctp 10.0.0.1:80"})
    EXPECT_FALSE(parse_endpoint_of(text)) << text;
}

TEST(Endpoint, of_an_ipv6_socket_with_an_ipv4_peer_is_of_ipv4) {
  EXPECT_EQ(end("tcp [::ffff:10.0.0.1]:80"), end("tcp 10.0.0.1:80"));
}

TEST(EndpointSet, has_what_it_was_given) {
  EndpointSet set;
  set.add(end("tcp 10.0.0.1:80"));
  EXPECT_TRUE(set.has(end("tcp 10.0.0.1:80")));
  for (auto* other : {"udp 10.0.0.1:80", "tcp 10.0.0.1:81", "tcp 10.0.0.2:80", "tcp [fd00::1]:80"})
    EXPECT_FALSE(set.has(end(other))) << other;
}

TEST(EndpointSet, of_many_knows_few_by_mistake) {
  EndpointSet set;
  auto nth = [](std::uint32_t n, std::uint8_t net) {
    return endpoint_of(IPPROTO_TCP,
                       std::array<std::uint8_t, 4>{net, 0, static_cast<std::uint8_t>(n >> 16), 1},
                       static_cast<std::uint16_t>(n));
  };
  for (std::uint32_t n = 0; n < 40'000; ++n)
    set.add(nth(n, 10));
  int wrong = 0;
  for (std::uint32_t n = 0; n < 40'000; ++n) {
    EXPECT_TRUE(set.has(nth(n, 10)));
    wrong += set.has(nth(n, 11));
  }
  EXPECT_LT(wrong, 600);  // of 40,000: one in a hundred is expected
}

TEST(EndpointSet, takes_both_ends_of_a_packet_and_none_of_a_later_fragment) {
  const std::vector<unsigned char> tcp{0x45, 0, 0, 24, 0,  0, 0, 0, 64,   IPPROTO_TCP, 0, 0,
                                       10,   0, 0, 1,  10, 0, 0, 2, 0x12, 0x67,        0, 80};
  EndpointSet set;
  auto add = [&](const std::vector<unsigned char>& packet) {
    set.add_ends_of({reinterpret_cast<const char*>(packet.data()), packet.size()});
  };
  auto piece = tcp;
  piece[7] = 1;
  add(piece);
  EXPECT_FALSE(set.has(end("tcp 10.0.0.1:4711")));
  add(tcp);
  EXPECT_TRUE(set.has(end("tcp 10.0.0.1:4711")));
  EXPECT_TRUE(set.has(end("tcp 10.0.0.2:80")));
  EXPECT_EQ(set.to_one(), 2U);
  EXPECT_EQ(set.to_groups(), 0U);
  auto group = tcp;
  group[16] = 224;
  add(group);
  EXPECT_EQ(set.to_groups(), 1U);
  for (std::size_t size = 0; size < tcp.size(); ++size)
    add({tcp.begin(), tcp.begin() + static_cast<std::ptrdiff_t>(size)});
}

}  // namespace
}  // namespace squall
