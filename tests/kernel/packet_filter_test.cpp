// Packet matches as the kernel runs them, on frames made by hand.
#include <cstring>

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <gtest/gtest.h>

#include "injector/host/tc/packet_filter.hpp"
#include "injector/system/process.hpp"
#include "tests/support/own_network.hpp"

namespace squall {
namespace {

using Bytes = std::vector<std::uint8_t>;

class PacketFilter : public ::testing::Test {
 protected:
  testing::OwnNetwork network;
  Fd sender{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
  const unsigned device = ::if_nametoindex("sqa");

  Fd listen(const std::vector<sock_filter>& code) const {
    Fd out;
    network.at_the_other_end([&] {
      out = Fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
      const sock_fprog program{static_cast<unsigned short>(code.size()),
                               const_cast<sock_filter*>(code.data())};
      if (::setsockopt(out.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
        throw std::runtime_error(std::strerror(errno));
      auto at = address(::if_nametoindex("sqb"));
      at.sll_protocol = htons(ETH_P_ALL);
      if (::bind(out.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
        throw std::runtime_error("bind");
    });
    return out;
  }

  static sockaddr_ll address(unsigned interface) {
    sockaddr_ll out{};
    out.sll_family = AF_PACKET;
    out.sll_ifindex = static_cast<int>(interface);
    out.sll_halen = 6;
    return out;
  }

  // Others come by, of the kernel's own making.
  static bool gets(const Fd& receiver, const Bytes& frame) {
    for (pollfd ready{receiver.get(), POLLIN, 0}; ::poll(&ready, 1, 200) == 1;) {
      Bytes got(2048);
      const auto size = ::recv(receiver.get(), got.data(), got.size(), 0);
      got.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
      if (got == frame) return true;
    }
    return false;
  }

  // Whether a frame of this payload, which comes to the other end, is taken there.
  bool takes(const PacketMatch& match, const Bytes& packet) const {
    const auto all = listen(sampling_filter(1, 0xffffffff)), some = listen(packet_filter(match, 0xffffffff));
    const bool v6 = packet[0] >> 4 == 6;
    Bytes frame(12, 0x02);
    frame.insert(frame.end(), {std::uint8_t(v6 ? 0x86 : 0x08), std::uint8_t(v6 ? 0xdd : 0x00)});
    frame.insert(frame.end(), packet.begin(), packet.end());
    const auto to = address(device);
    // A device that has just come up drops what is sent at first.
    for (int attempt = 0; attempt < 50; ++attempt) {
      ::sendto(sender.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
               sizeof to);
      if (gets(all, frame)) return gets(some, frame);
    }
    throw std::runtime_error("no frame comes to the other end");
  }

  static Bytes v4(std::uint8_t protocol, const Bytes& rest) {
    Bytes out{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2};
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
  }
  static Bytes v6(std::uint8_t next, const std::vector<Bytes>& rest) {
    Bytes out{0x60, 0, 0, 0, 0, 0, next, 64};
    out.resize(40);
    for (auto& one : rest)
      out.insert(out.end(), one.begin(), one.end());
    return out;
  }
  // A transport header from one port to another.
  static Bytes ports(std::uint16_t from, std::uint16_t to) {
    Bytes out{std::uint8_t(from >> 8), std::uint8_t(from), std::uint8_t(to >> 8), std::uint8_t(to)};
    out.resize(20);
    return out;
  }
  // An extension header of 8 or more bytes, before `next`.
  static Bytes extension(std::uint8_t next, std::uint8_t more_eights = 0) {
    Bytes out{next, more_eights};
    out.resize(8 + 8UL * more_eights);
    return out;
  }
  static Bytes fragment(std::uint8_t next, std::uint8_t offset) {
    return {next, 0, 0, std::uint8_t(offset << 3), 0, 0, 0, 1};
  }
};

TEST_F(PacketFilter, knows_protocols_by_name_and_number) {
  const auto of = [](Protocol protocol) {
    return PacketMatch{.peers = {}, .ports = {}, .protocol = protocol, .exempt = {}, .exempt_peers = {}};
  };
  for (auto protocol : {Protocol::sctp, Protocol::gre, Protocol::esp, Protocol{89}}) {
    EXPECT_TRUE(takes(of(protocol), v4(static_cast<std::uint8_t>(protocol), ports(1, 2))));
    EXPECT_TRUE(takes(of(protocol), v6(static_cast<std::uint8_t>(protocol), {ports(1, 2)})));
  }
  EXPECT_FALSE(takes(of(Protocol::gre), v4(IPPROTO_TCP, ports(1, 2))));
  EXPECT_TRUE(takes(of(Protocol::icmp), v6(IPPROTO_ICMPV6, {ports(1, 2)})));
}

TEST_F(PacketFilter, finds_ports_behind_extension_headers) {
  PacketMatch match;
  match.ports = {{{7007}, Side::destination}};
  for (std::uint8_t transport : {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP}) {
    EXPECT_TRUE(takes(match, v4(transport, ports(1, 7007))));
    EXPECT_TRUE(takes(match, v6(transport, {ports(1, 7007)})));
    EXPECT_FALSE(takes(match, v6(transport, {ports(1, 7008)})));
    EXPECT_TRUE(takes(match, v6(IPPROTO_HOPOPTS, {extension(transport), ports(1, 7007)})));
    EXPECT_FALSE(takes(match, v6(IPPROTO_HOPOPTS, {extension(transport), ports(1, 7008)})));
    EXPECT_TRUE(
        takes(match, v6(IPPROTO_DSTOPTS, {extension(IPPROTO_ROUTING, 2), extension(IPPROTO_FRAGMENT, 1),
                                          fragment(transport, 0), ports(1, 7007)})));
  }
  EXPECT_TRUE(takes(match, v6(IPPROTO_AH, {{IPPROTO_UDP, 4}, Bytes(22), ports(1, 7007)})));
  EXPECT_FALSE(takes(match, v6(IPPROTO_FRAGMENT, {fragment(IPPROTO_UDP, 1), ports(1, 7007)})))
      << "a later fragment has no ports";
  match.ports.clear();
  match.protocol = Protocol::udp;
  EXPECT_TRUE(takes(match, v6(IPPROTO_FRAGMENT, {fragment(IPPROTO_UDP, 1), ports(1, 7007)})))
      << "but a protocol";
}

TEST_F(PacketFilter, spares_ssh_behind_extension_headers) {
  PacketMatch match;
  match.exempt = {22};
  EXPECT_FALSE(takes(match, v6(IPPROTO_TCP, {ports(40'000, 22)})));
  EXPECT_FALSE(takes(match, v6(IPPROTO_HOPOPTS, {extension(IPPROTO_TCP), ports(40'000, 22)})));
  EXPECT_FALSE(takes(match, v6(IPPROTO_DSTOPTS, {extension(IPPROTO_TCP, 3), ports(22, 40'000)})));
  EXPECT_TRUE(takes(match, v6(IPPROTO_HOPOPTS, {extension(IPPROTO_TCP), ports(40'000, 23)})));
}

}  // namespace
}  // namespace squall
