#include "injector/host/tcp_connections.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include <fmt/format.h>

#include "injector/host/netlink_dump.hpp"

namespace squall {

namespace {

constexpr std::uint32_t connected = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_SYN_RECV | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |
                                    1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING;

bool within(const std::uint8_t* address, bool v6, const Prefix& peer) {
  if (peer.v6 != v6) return false;
  const auto mask = peer.mask();
  for (std::size_t i = 0; i < peer.bytes(); ++i)
    if ((address[i] & mask[i]) != peer.address[i]) return false;
  return true;
}

struct Connection {
  inet_diag_msg message;
  SocketCgroup cgroup;
  bool of(const SocketCgroup& one) const { return one.class_id ? one.class_id == cgroup.class_id : one.id == cgroup.id; }
};

bool meant(const Connection& connection, const PacketMatch& match, const std::vector<SocketCgroup>& cgroups) {
  if (match.protocol != Protocol::any && match.protocol != Protocol::tcp) return false;
  if (!cgroups.empty() && std::none_of(cgroups.begin(), cgroups.end(), [&](auto& one) { return connection.of(one); })) return false;
  const auto& id = connection.message.id;
  const auto own = ntohs(id.idiag_sport), peers = ntohs(id.idiag_dport);
  for (auto port : match.exempt)
    if (own == port || peers == port) return false;
  for (auto& condition : match.ports)
    if (std::none_of(condition.ports.begin(), condition.ports.end(), [&](auto port) { return own == port || peers == port; })) return false;
  // An IPv4 connection of an IPv6 socket has a mapped address.
  const auto* address = reinterpret_cast<const std::uint8_t*>(id.idiag_dst);
  bool v6 = connection.message.idiag_family == AF_INET6;
  in6_addr whole;
  std::memcpy(&whole, id.idiag_dst, sizeof whole);
  if (v6 && IN6_IS_ADDR_V4MAPPED(&whole)) address += 12, v6 = false;
  auto has = [&](const std::vector<Prefix>& all) { return std::any_of(all.begin(), all.end(), [&](auto& peer) { return within(address, v6, peer); }); };
  return !has(match.exempt_peers) && (match.peers.empty() || has(match.peers));
}

using End = std::array<std::uint8_t, 18>;  // address and port

End end_of(const Connection& connection, bool own) {
  const auto& id = connection.message.id;
  End out{};
  std::memcpy(out.data(), own ? id.idiag_src : id.idiag_dst, 16);
  std::memcpy(out.data() + 16, own ? &id.idiag_sport : &id.idiag_dport, 2);
  return out;
}

template <class Number>
void read_into(Number& out, const nlmsghdr* message, std::uint16_t attribute) {
  const auto value = netlink::payload(netlink::find(message, sizeof(inet_diag_msg), attribute));
  if (value.size() >= sizeof out) std::memcpy(&out, value.data(), sizeof out);
}

std::vector<Connection> connections() {
  std::vector<Connection> out;
  netlink::Dumper dumper{NETLINK_SOCK_DIAG};
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = connected;
    request.idiag_ext = 1 << (INET_DIAG_TCLASS - 1);  // asks for the class id too, whose own number has no bit
    dumper.dump(SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* message) {
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
      Connection one;
      std::memcpy(&one.message, NLMSG_DATA(const_cast<nlmsghdr*>(message)), sizeof one.message);
      read_into(one.cgroup.id, message, INET_DIAG_CGROUP_ID);
      read_into(one.cgroup.class_id, message, INET_DIAG_CLASS_ID);
      out.push_back(one);
    });
  }
  return out;
}

}  // namespace

CutConnections cut_connections(const PacketMatch& match, const std::vector<SocketCgroup>& cgroups) {
  std::mt19937_64 any;
  return cut_connections(match, cgroups, {.kind = Amount::Kind::all}, any);
}

CutConnections cut_connections(const PacketMatch& match, const std::vector<SocketCgroup>& cgroups, const Amount& amount, std::mt19937_64& random) {
  CutConnections out;
  std::vector<Connection> all;
  std::set<std::pair<End, End>> known;  // with both ends on this host a connection is two sockets
  for (auto& one : connections())
    if (meant(one, match, cgroups) && known.insert(std::minmax(end_of(one, true), end_of(one, false))).second) all.push_back(one);
  out.found = all.size();
  std::shuffle(all.begin(), all.end(), random);
  all.resize(static_cast<std::size_t>(amount.of(static_cast<std::int64_t>(all.size()))));
  netlink::Socket socket{NETLINK_SOCK_DIAG};
  for (auto& one : all) {
    inet_diag_req_v2 request{};
    request.sdiag_family = one.message.idiag_family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = connected;
    request.id = one.message.id;
    netlink::Messages messages;
    messages.begin(SOCK_DESTROY, NLM_F_ACK, request);
    const auto answer = socket.exchange(messages);
    if (answer) ++out.cut;
    // It may have ended by itself.
    else if (answer.error != ENOENT) throw std::runtime_error("cut a connection: " + answer.text());
  }
  return out;
}

}  // namespace squall
