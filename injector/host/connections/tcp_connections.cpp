#include "injector/host/connections/tcp_connections.hpp"

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
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>

#include <fmt/format.h>

#include "injector/host/netlink/netlink_dump.hpp"

namespace squall {

namespace {

constexpr std::uint32_t loopback_device = 1;  // in every network namespace
constexpr std::uint32_t connected = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_SYN_RECV |
                                    1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSE_WAIT |
                                    1 << TCP_LAST_ACK | 1 << TCP_CLOSING;

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
  std::uint32_t mark = 0;
  bool of(const SocketCgroup& one) const {
    return one.class_id ? one.class_id == cgroup.class_id : one.id == cgroup.id;
  }
};

bool meant(const Connection& connection, const PacketMatch& match, const std::vector<SocketCgroup>& cgroups) {
  if (match.protocol != Protocol::any && match.protocol != Protocol::tcp) return false;
  if (!cgroups.empty() &&
      std::none_of(cgroups.begin(), cgroups.end(), [&](auto& one) { return connection.of(one); }))
    return false;
  const auto& id = connection.message.id;
  const auto own = ntohs(id.idiag_sport), peers = ntohs(id.idiag_dport);
  for (auto port : match.exempt)
    if (own == port || peers == port) return false;
  for (auto& condition : match.ports)
    if (std::none_of(condition.ports.begin(), condition.ports.end(),
                     [&](auto port) { return own == port || peers == port; }))
      return false;
  // An IPv4 connection of an IPv6 socket has a mapped address.
  const auto* address = reinterpret_cast<const std::uint8_t*>(id.idiag_dst);
  bool v6 = connection.message.idiag_family == AF_INET6;
  in6_addr whole;
  std::memcpy(&whole, id.idiag_dst, sizeof whole);
  if (v6 && IN6_IS_ADDR_V4MAPPED(&whole)) address += 12, v6 = false;
  auto has = [&](const std::vector<Prefix>& all) {
    return std::any_of(all.begin(), all.end(), [&](auto& peer) { return within(address, v6, peer); });
  };
  return !has(match.exempt_peers) && !has(match.left_out) && (match.peers.empty() || has(match.peers));
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
    request.idiag_ext =
        1 << (INET_DIAG_TCLASS - 1);  // asks for the class id too, whose own number has no bit
    dumper.dump(SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* message) {
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
      Connection one;
      std::memcpy(&one.message, NLMSG_DATA(const_cast<nlmsghdr*>(message)), sizeof one.message);
      read_into(one.cgroup.id, message, INET_DIAG_CGROUP_ID);
      read_into(one.cgroup.class_id, message, INET_DIAG_CLASS_ID);
      read_into(one.mark, message, INET_DIAG_MARK);
      out.push_back(one);
    });
  }
  return out;
}

// The device by which what the connection sends leaves, as the kernel would route it now; 0 where it would
// not. Addresses of this host are reached by lo, whichever device IPv6 names for them.
std::uint32_t route_of(netlink::Socket& route, const Connection& connection, bool from) {
  const auto& id = connection.message.id;
  in6_addr peer;
  std::memcpy(&peer, id.idiag_dst, sizeof peer);
  const bool mapped = connection.message.idiag_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer);
  const bool v4 = connection.message.idiag_family == AF_INET || mapped;
  const std::size_t skip = mapped ? 12 : 0, size = v4 ? 4 : 16;
  rtmsg request{};
  request.rtm_family = v4 ? AF_INET : AF_INET6;
  request.rtm_dst_len = request.rtm_src_len = static_cast<std::uint8_t>(8 * size);
  netlink::Messages messages;
  messages.begin(RTM_GETROUTE, NLM_F_ACK, request);
  messages.bytes(RTA_DST, reinterpret_cast<const char*>(id.idiag_dst) + skip, size);
  if (from) messages.bytes(RTA_SRC, reinterpret_cast<const char*>(id.idiag_src) + skip, size);
  if (id.idiag_if) messages.u32(RTA_OIF, id.idiag_if);
  if (connection.mark) messages.u32(RTA_MARK, connection.mark);
  messages.u32(RTA_UID, connection.message.idiag_uid);
  std::uint32_t device = 0;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWROUTE) return;
    const auto* found = static_cast<const rtmsg*>(nlmsg_data(message));
    const auto oif = netlink::payload(netlink::find(message, sizeof *found, RTA_OIF));
    if (oif.size() == sizeof device) std::memcpy(&device, oif.data(), sizeof device);
    if (found->rtm_type == RTN_LOCAL) device = loopback_device;
  });
  return device;
}

bool uses(const Connection& connection, const std::vector<std::uint32_t>& devices, netlink::Socket& route) {
  const auto among = [&](std::uint32_t device) {
    return std::find(devices.begin(), devices.end(), device) != devices.end();
  };
  if (const auto bound = connection.message.id.idiag_if; bound && among(bound)) return true;
  // From an address that is not this host's, as a transparent proxy has one, the kernel tells no route.
  const auto device = route_of(route, connection, true);
  return among(device ? device : route_of(route, connection, false));
}

CutConnections cut(const std::function<bool(const Connection&)>& meant, const Amount& amount,
                   std::mt19937_64& random) {
  CutConnections out;
  std::vector<Connection> all;
  std::set<std::pair<End, End>> known;  // with both ends on this host a connection is two sockets
  for (auto& one : connections())
    if (meant(one) && known.insert(std::minmax(end_of(one, true), end_of(one, false))).second)
      all.push_back(one);
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
    else if (answer.error != ENOENT)
      throw std::runtime_error("cut a connection: " + answer.text());
  }
  return out;
}

constexpr Amount every_one{.kind = Amount::Kind::all};

}  // namespace

CutConnections cut_connections(const PacketMatch& match, const std::vector<SocketCgroup>& cgroups) {
  std::mt19937_64 any;
  return cut_connections(match, cgroups, every_one, any);
}

CutConnections cut_connections(const PacketMatch& match, const std::vector<SocketCgroup>& cgroups,
                               const Amount& amount, std::mt19937_64& random) {
  return cut([&](auto& one) { return meant(one, match, cgroups); }, amount, random);
}

CutConnections cut_connections_by(const std::vector<std::uint32_t>& devices, const PacketMatch& match,
                                  const std::vector<SocketCgroup>& cgroups) {
  std::mt19937_64 any;
  netlink::Socket route{NETLINK_ROUTE};
  return cut([&](auto& one) { return meant(one, match, cgroups) && uses(one, devices, route); }, every_one,
             any);
}

}  // namespace squall
