#include "injector/host/connections/translation.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "injector/host/netlink/netlink_dump.hpp"

namespace squall {
namespace {

void put_tuple(netlink::Messages& messages, std::uint16_t which, const Endpoint& from, const Endpoint& to) {
  auto tuple = messages.nest(which);
  const std::size_t size = from.v6 ? 16 : 4;
  {
    auto ip = messages.nest(CTA_TUPLE_IP);
    messages.bytes(from.v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, from.address.data(), size);
    messages.bytes(from.v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, to.address.data(), size);
  }
  auto protocol = messages.nest(CTA_TUPLE_PROTO);
  messages.u8(CTA_PROTO_NUM, from.protocol);
  messages.be16(CTA_PROTO_SRC_PORT, from.port);
  messages.be16(CTA_PROTO_DST_PORT, to.port);
}

struct Tuple {
  Endpoint from, to;
};

Tuple read_tuple(const nlattr* tuple, const Endpoint& like) {
  const auto* ip = netlink::find(tuple, CTA_TUPLE_IP);
  const auto* ports = netlink::find(tuple, CTA_TUPLE_PROTO);
  auto end = [&](std::uint16_t address, std::uint16_t port) {
    const auto bytes = netlink::payload(netlink::find(ip, address));
    const std::span plain{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
    return plain.empty() ? Endpoint{}
                         : endpoint_of(like.protocol, plain,
                                       ntohs(netlink::value<std::uint16_t>(netlink::find(ports, port))));
  };
  return {end(like.v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, CTA_PROTO_SRC_PORT),
          end(like.v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, CTA_PROTO_DST_PORT)};
}

}  // namespace

std::optional<Translation> ConnectionTracking::find(const Endpoint& local, const Endpoint& remote,
                                                    bool accepted) {
  const nfgenmsg family{static_cast<std::uint8_t>(local.v6 ? AF_INET6 : AF_INET), NFNETLINK_V0, 0};
  netlink::Messages messages;
  messages.begin(static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET), NLM_F_ACK,
                 family);
  put_tuple(messages, accepted ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG, local, remote);
  std::optional<Translation> out;
  socket_.exchange(messages, [&](const nlmsghdr* head) {
    const auto first = read_tuple(netlink::find(head, sizeof family, CTA_TUPLE_ORIG), local);
    const auto answer = read_tuple(netlink::find(head, sizeof family, CTA_TUPLE_REPLY), local);
    // One that was picked up in the middle begins at whoever was heard first: its beginning, where addresses
    // are translated, was not tracked.
    if ((accepted ? answer.from : first.from) != local) return;
    out = Translation{.client = first.from, .asked = first.to, .seen_as = answer.to, .reached = answer.from};
  });
  return out;
}

}  // namespace squall
