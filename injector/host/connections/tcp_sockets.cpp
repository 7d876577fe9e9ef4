#include "injector/host/connections/tcp_sockets.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

namespace squall {
namespace {

// struct tcp_info of <linux/tcp.h>, whose header does not go with <netinet/tcp.h>: these follow 8 bytes and
// 24 numbers of 32 bits, two rates and two sums of 64 bits.
constexpr std::size_t segs_out = 136, segs_in = 140, data_segs_in = 152, data_segs_out = 156;

constexpr std::uint32_t live = 1 << TCP_LISTEN | 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT |
                               1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSE_WAIT |
                               1 << TCP_LAST_ACK | 1 << TCP_CLOSING;

Endpoint end_of(const inet_diag_msg& message, bool own) {
  const auto& id = message.id;
  const auto* address = reinterpret_cast<const std::uint8_t*>(own ? id.idiag_src : id.idiag_dst);
  return endpoint_of(IPPROTO_TCP, {address, message.idiag_family == AF_INET6 ? 16U : 4U},
                     ntohs(own ? id.idiag_sport : id.idiag_dport));
}

std::uint32_t number_at(std::span<const std::byte> info, std::size_t at) {
  std::uint32_t out = 0;
  if (at + sizeof out <= info.size()) std::memcpy(&out, info.data() + at, sizeof out);
  return out;
}

TcpSocket read_socket(const nlmsghdr* head) {
  inet_diag_msg message;
  std::memcpy(&message, NLMSG_DATA(const_cast<nlmsghdr*>(head)), sizeof message);
  auto of = [&](std::uint16_t attribute) { return netlink::find(head, sizeof message, attribute); };
  TcpSocket out;
  out.local = end_of(message, true);
  out.remote = end_of(message, false);
  out.cookie = std::uint64_t{message.id.idiag_cookie[1]} << 32 | message.id.idiag_cookie[0];
  out.inode = message.idiag_inode;
  out.cgroup.id = netlink::value<std::uint64_t>(of(INET_DIAG_CGROUP_ID));
  out.cgroup.class_id = netlink::value<std::uint32_t>(of(INET_DIAG_CLASS_ID));
  out.listens = message.idiag_state == TCP_LISTEN;
  const auto info = netlink::payload(of(INET_DIAG_INFO));
  out.segments_in = number_at(info, segs_in);
  out.segments_out = number_at(info, segs_out);
  out.data_in = number_at(info, data_segs_in);
  out.data_out = number_at(info, data_segs_out);
  return out;
}

bool tells_a_socket(const nlmsghdr* head) {
  return head->nlmsg_type == SOCK_DIAG_BY_FAMILY && head->nlmsg_len >= NLMSG_LENGTH(sizeof(inet_diag_msg));
}

}  // namespace

TcpSockets::TcpSockets()
    : dumper_(NETLINK_SOCK_DIAG),
      ended_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG)) {
  const int room = 8 << 20;
  ::setsockopt(ended_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  // Unbound it would have the number of the sender, the kernel, which gets nothing of its own.
  const sockaddr_nl here{AF_NETLINK, 0, 0, 0};
  ::bind(ended_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here);
  for (const int group : {SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY})
    ::setsockopt(ended_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
}

bool TcpSockets::each(const Each& each) {
  bool answered = false;
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = live;
    request.idiag_ext =
        1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_TCLASS - 1);  // the second asks for the class id too
    answered |=
        dumper_.dump(SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* head) {
          if (tells_a_socket(head)) each(read_socket(head));
        });
  }
  return answered;
}

bool TcpSockets::each_ended(const Each& each) {
  alignas(nlmsghdr) std::array<char, 16384> buffer;
  for (bool all = true;;) {
    const auto got = ::recv(ended_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOBUFS) {
      all = false;
      continue;
    }
    if (got <= 0) return all;
    auto left = static_cast<unsigned>(got);
    for (auto* head = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(head, left);
         head = NLMSG_NEXT(head, left)) {
      if (!tells_a_socket(head)) continue;
      auto socket = read_socket(head);
      socket.ended = true;
      each(socket);
    }
  }
}

}  // namespace squall
