#include "injector/host/packets/raw_sender.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sys/socket.h>

namespace squall {

namespace {

Fd open_raw(int family, std::uint32_t mark) {
  Fd out{::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW)};
  if (!out && family == AF_INET6 && errno == EAFNOSUPPORT) return out;
  if (!out || ::setsockopt(out.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
    throw std::runtime_error(std::string("open a raw socket: ") + std::strerror(errno));
  return out;
}

}  // namespace

RawSender::RawSender(std::uint32_t mark) : v4_(open_raw(AF_INET, mark)), v6_(open_raw(AF_INET6, mark)) {
  // With IPPROTO_RAW the header is ours to write, in both families.
}

bool RawSender::send(std::span<const char> packet) {
  if (packet.empty()) return false;
  if ((packet[0] & 0xf0) == 0x40 && packet.size() >= sizeof(iphdr)) {
    iphdr header;
    std::memcpy(&header, packet.data(), sizeof header);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = header.daddr;
    return ::sendto(v4_.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) >= 0;
  }
  if ((packet[0] & 0xf0) == 0x60 && packet.size() >= sizeof(ip6_hdr) && v6_) {
    ip6_hdr header;
    std::memcpy(&header, packet.data(), sizeof header);
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_addr = header.ip6_dst;
    return ::sendto(v6_.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) >= 0;
  }
  return false;
}

}  // namespace squall
