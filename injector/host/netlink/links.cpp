#include "injector/host/netlink/links.hpp"

#include <net/if.h>
#include <net/if_arp.h>

#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <netlink/route/link.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::links {
namespace {

bool loosely_bound(const nlattr* info) {
  return netlink::value<ifla_vlan_flags>(netlink::find(netlink::find(info, IFLA_INFO_DATA), IFLA_VLAN_FLAGS))
             .flags &
         VLAN_FLAG_LOOSE_BINDING;
}

std::uint32_t ipv6_mtu(const nlattr* settings) {
  constexpr std::size_t place = 2;  // DEVCONF_MTU6 in linux/ipv6.h, which quarrels with netinet/in.h
  const auto all = netlink::payload(netlink::find(settings, IFLA_INET6_CONF));
  std::uint32_t out = 0;
  if (all.size() >= (place + 1) * sizeof out) std::memcpy(&out, all.data() + place * sizeof out, sizeof out);
  return out;
}

std::vector<std::string> altnames_of(const nlattr* properties) {
  std::vector<std::string> out;
  netlink::each_attribute(netlink::payload(properties), [&](const nlattr* one) {
    if (nla_type(one) == IFLA_ALT_IFNAME) out.emplace_back(netlink::text(one));
  });
  return out;
}

Link link_of(const nlmsghdr* message) {
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(message));
  Link link;
  link.index = static_cast<std::uint32_t>(info->ifi_index);
  link.up = info->ifi_flags & IFF_UP;
  link.running = info->ifi_flags & IFF_RUNNING;
  link.loopback = info->ifi_flags & IFF_LOOPBACK;
  link.ethernet = info->ifi_type == ARPHRD_ETHER;
  link.name = netlink::text(netlink::find(message, sizeof *info, IFLA_IFNAME));
  link.alias = netlink::text(netlink::find(message, sizeof *info, IFLA_IFALIAS));
  link.altnames = altnames_of(netlink::find(message, sizeof *info, IFLA_PROP_LIST));
  if (auto* nest = netlink::find(message, sizeof *info, IFLA_LINKINFO))
    link.kind = netlink::text(netlink::find(nest, IFLA_INFO_KIND));
  if (link.kind == "vlan") link.loose = loosely_bound(netlink::find(message, sizeof *info, IFLA_LINKINFO));
  link.lower = netlink::value<std::uint32_t>(netlink::find(message, sizeof *info, IFLA_LINK));
  if (auto* elsewhere = netlink::find(message, sizeof *info, IFLA_LINK_NETNSID))
    link.lower_namespace = netlink::value<int>(elsewhere);
  if (auto* master = netlink::find(message, sizeof *info, IFLA_MASTER)) link.master = nla_get_u32(master);
  if (auto* mtu = netlink::find(message, sizeof *info, IFLA_MTU)) link.mtu = nla_get_u32(mtu);
  link.ipv6_mtu = ipv6_mtu(netlink::find(netlink::find(message, sizeof *info, IFLA_AF_SPEC), AF_INET6));
  return link;
}

}  // namespace

std::vector<Link> all() {
  std::vector<Link> out;
  netlink::Dumper dumper{NETLINK_ROUTE};
  const ifinfomsg request{};
  dumper.dump(RTM_GETLINK, std::as_bytes(std::span(&request, 1)),
              [&](const nlmsghdr* message) { out.push_back(link_of(message)); });
  return out;
}

std::optional<Link> by_index(std::uint32_t index) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg link{};
  link.ifi_index = static_cast<int>(index);
  messages.begin(RTM_GETLINK, NLM_F_ACK, link);
  std::optional<Link> out;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type == RTM_NEWLINK) out = link_of(message);
  });
  return out;
}

std::optional<Link> find(const std::string& name) {
  for (auto& link : all())
    if (link.name == name) return link;
  return {};
}

std::optional<Link> find_again(const Link& as_it_was) {
  for (auto& link : all())
    if (link.index == as_it_was.index) return link;
  return {};
}

Traffic traffic(std::uint32_t index) {
  const auto socket = netlink::nl_socket_of(Fd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)});
  rtnl_link* found = nullptr;
  if (!socket || rtnl_link_get_kernel(socket.get(), static_cast<int>(index), nullptr, &found) != 0) return {};
  const std::unique_ptr<rtnl_link, decltype(&rtnl_link_put)> link{found, rtnl_link_put};
  const auto counted = [&](rtnl_link_stat_id_t what) { return rtnl_link_get_stat(found, what); };
  return {counted(RTNL_LINK_RX_PACKETS), counted(RTNL_LINK_TX_PACKETS), counted(RTNL_LINK_RX_DROPPED),
          counted(RTNL_LINK_TX_DROPPED)};
}

Inverse removal(const std::string& name, const std::string& alias, std::uint64_t network_namespace,
                pid_t in) {
  return {"link.delete", {{"name", name}, {"alias", alias}, {"netns", network_namespace}, {"pid", in}}};
}

}  // namespace squall::links

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("remove the device {}", text_of(with, "name"));
}

// Another device of its name is not ours to touch; it goes with the process that made it, whatever its name
// is.
Undone remove(const boost::json::object& with) {
  const auto name = text_of(with, "name");
  const auto link = links::find(name);
  if (!link || link->alias != text_of(with, "alias")) return {UndoOutcome::already, "", ""};
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg info{};
  info.ifi_index = static_cast<int>(link->index);
  messages.begin(RTM_DELLINK, NLM_F_ACK, info);
  const auto answer = route.exchange(messages);
  if (answer) return {};
  if (answer.error == ENODEV) return {UndoOutcome::already, "", ""};
  return {UndoOutcome::failed, fmt::format("remove the device {}: {}", name, answer.text()),
          fmt::format("ip link delete {}", name)};
}

Undone carry_out(const boost::json::object& with) {
  return in_namespace_of(with, remove);
}

}  // namespace

const UndoVerb link_delete{"link.delete", describe, carry_out, {"link"}};

}  // namespace squall::undo
