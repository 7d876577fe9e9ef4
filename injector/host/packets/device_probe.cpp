#include "injector/host/packets/device_probe.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "injector/system/process.hpp"

namespace squall::links {
namespace {

constexpr std::uint32_t headers = 28;  // of IPv4 and UDP
constexpr std::uint32_t smallest = headers + 1, largest = 65'535;

// With MSG_MORE a datagram waits in its socket for more to come (udp(7), UDP_CORK), after the way was found
// and its length judged; closing the socket throws it away.
int attempt(const Link& link, std::uint32_t packet) {
  const Fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!socket) return errno;
  const int yes = 1, whole = IP_PMTUDISC_DO;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, link.name.data(),
                   static_cast<socklen_t>(link.name.size())) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) != 0 ||
      ::setsockopt(socket.get(), IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof whole) != 0)
    return errno;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);  // discard
  to.sin_addr.s_addr = htonl(link.loopback ? INADDR_LOOPBACK : INADDR_BROADCAST);
  const std::vector<char> nothing(packet - headers);
  return ::sendto(socket.get(), nothing.data(), nothing.size(), MSG_MORE | MSG_DONTWAIT,
                  reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0
             ? errno
             : 0;
}

}  // namespace

int refusal_by(const Link& link) {
  return attempt(link, smallest);
}

std::uint32_t largest_packet_by(const Link& link, std::uint32_t guess) {
  guess = std::clamp(guess, smallest, largest);
  if (attempt(link, guess) == 0 && attempt(link, guess + 1) != 0) return guess;
  if (attempt(link, smallest) != 0) return 0;
  std::uint32_t passes = smallest, refused = largest + 1;
  while (refused - passes > 1) {
    const auto middle = passes + (refused - passes) / 2;
    (attempt(link, middle) == 0 ? passes : refused) = middle;
  }
  return passes;
}

}  // namespace squall::links
