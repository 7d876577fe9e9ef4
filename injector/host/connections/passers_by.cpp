#include "injector/host/connections/passers_by.hpp"

#include <algorithm>
#include <span>

#include <arpa/inet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <fmt/format.h>

#include "injector/host/match/packet_headers.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {
namespace {

constexpr std::int64_t longest_ns = 3'000'000'000;
constexpr int packets_a_look = 512, buffer_bytes = 256 << 10;

std::string protocol_name(std::uint8_t number) {
  switch (number) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "icmpv6";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return fmt::format("protocol {}", number);
  }
}

// The side with the service's port, which is the lower one more often than not.
std::string describe(std::span<const char> packet, bool leaves, bool peers) {
  if (packet.size() < 20) return "";
  const bool v6 = static_cast<std::uint8_t>(packet[0]) >> 4 == 6;
  if (v6 && packet.size() < 40) return "";
  const auto protocol = static_cast<std::uint8_t>(packet[v6 ? 6 : 9]);
  auto out = protocol_name(protocol);
  if (const auto ports = ports_of(packet)) {
    const bool towards = ports->destination <= ports->source;
    out += fmt::format(" {} port {}", towards ? "to" : "from", std::min(ports->destination, ports->source));
  }
  if (!peers) return out;
  char address[INET6_ADDRSTRLEN] = "";
  const std::size_t at = v6 ? (leaves ? 24 : 8) : (leaves ? 16 : 12);
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, packet.data() + at, address, sizeof address);
  return fmt::format("{}, {} {}", out, leaves ? "to" : "from", address);
}

}  // namespace

PassersBy::PassersBy(std::uint64_t network_namespace, pid_t namespace_pid, std::vector<std::uint32_t> devices,
                     bool peers)
    : network_namespace_(network_namespace),
      namespace_pid_(namespace_pid),
      devices_(std::move(devices)),
      peers_(peers) {}

void PassersBy::listen() {
  since_ = monotonic_ns();
  in_network_namespace_if_there(network_namespace_, namespace_pid_, [&] {
    socket_ = Fd{::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))};
    if (!socket_) return;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    sockaddr_ll one{};
    one.sll_family = AF_PACKET;
    one.sll_protocol = htons(ETH_P_ALL);
    one.sll_ifindex = devices_.size() == 1 ? static_cast<int>(devices_.front()) : 0;
    if (one.sll_ifindex) ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&one), sizeof one);
  });
}

void PassersBy::look() {
  if (!since_) return listen();
  if (!socket_) return;
  char packet[128];
  for (int i = 0; i < packets_a_look; ++i) {
    sockaddr_ll from{};
    socklen_t size = sizeof from;
    const auto got =
        ::recvfrom(socket_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) break;
    const bool meant =
        devices_.empty() || std::find(devices_.begin(), devices_.end(),
                                      static_cast<std::uint32_t>(from.sll_ifindex)) != devices_.end();
    const bool ip = from.sll_protocol == htons(ETH_P_IP) || from.sll_protocol == htons(ETH_P_IPV6);
    // What crosses lo is seen as it leaves and as it arrives.
    const bool twice = from.sll_hatype == ARPHRD_LOOPBACK && from.sll_pkttype != PACKET_OUTGOING;
    if (!meant || !ip || twice) continue;
    if (const auto text =
            describe({packet, static_cast<std::size_t>(got)}, from.sll_pkttype == PACKET_OUTGOING, peers_);
        !text.empty())
      seen_.add(text);
  }
  if (monotonic_ns() - since_ > longest_ns) stop();
}

}  // namespace squall
