#include "injector/host/snapshot/snapshot_ip.hpp"

#include <cstring>

#include <arpa/inet.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

namespace squall::snapshot {
namespace {

using netlink::Dumper;
using netlink::find;
using netlink::payload;

using Names = std::map<int, std::string>;

template <class Header>
std::span<const std::byte> bytes(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

std::string address_text(const nlattr* attribute) {
  char out[INET6_ADDRSTRLEN] = "any";
  if (const auto bytes = payload(attribute); !bytes.empty())
    ::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), out, sizeof out);
  return out;
}

std::uint32_t number(const nlattr* attribute) {
  return netlink::value<std::uint32_t>(attribute);
}

std::string name_of(const Names& links, std::uint32_t index, const char* otherwise) {
  const auto link = links.find(static_cast<int>(index));
  return link == links.end() ? otherwise : link->second;
}

// RTPROTO_UNSPEC (what ip(8) gives a nexthop), RTPROTO_BOOT, RTPROTO_STATIC.
constexpr unsigned char by_nobody = 0, by_hand = 3, by_configuration = 4;
bool by_people(unsigned char protocol) {
  return protocol == by_hand || protocol == by_configuration;
}

void add_addresses(Dumper& route, const Names& links, HostState& state) {
  route.dump(RTM_GETADDR, bytes(ifaddrmsg{}), [&](const nlmsghdr* message) {
    auto* address = static_cast<const ifaddrmsg*>(nlmsg_data(message));
    auto link = links.find(static_cast<int>(address->ifa_index));
    if (link == links.end() || !(address->ifa_flags & IFA_F_PERMANENT)) return;
    auto* local = find(message, sizeof *address, IFA_LOCAL);
    if (!local) local = find(message, sizeof *address, IFA_ADDRESS);
    state[fmt::format("address {}/{} of {}", address_text(local), address->ifa_prefixlen, link->second)] =
        fmt::format("scope {}", address->ifa_scope);
  });
}

std::string mtu_text(const nlattr* metrics) {
  const auto mtu = number(find(metrics, RTAX_MTU));
  return mtu ? fmt::format(", mtu {}", mtu) : "";
}

void add_routes(Dumper& route, const Names& links, HostState& state) {
  for (unsigned char family : {AF_INET, AF_INET6}) {
    rtmsg request{};
    request.rtm_family = family;
    route.dump(RTM_GETROUTE, bytes(request), [&](const nlmsghdr* message) {
      auto* one = static_cast<const rtmsg*>(nlmsg_data(message));
      if (!by_people(one->rtm_protocol)) return;
      auto attribute = [&](std::uint16_t type) { return find(message, sizeof *one, type); };
      auto* target = attribute(RTA_DST);
      const auto nexthop = number(attribute(RTA_NH_ID));
      state[fmt::format("route to {}/{} in table {}, metric {}",
                        target              ? address_text(target)
                        : family == AF_INET ? "0.0.0.0"
                                            : "::",
                        one->rtm_dst_len, number(attribute(RTA_TABLE)), number(attribute(RTA_PRIORITY)))] =
          fmt::format("type {} by {} on {}{}", one->rtm_type, address_text(attribute(RTA_GATEWAY)),
                      name_of(links, number(attribute(RTA_OIF)), "several"),
                      nexthop ? fmt::format(", nexthop {}", nexthop) : "") +
          mtu_text(attribute(RTA_METRICS));
    });
  }
}

std::string group_text(const nlattr* group) {
  std::string out;
  const auto all = payload(group);
  for (std::size_t at = 0; at + sizeof(nexthop_grp) <= all.size(); at += sizeof(nexthop_grp)) {
    nexthop_grp member{};
    std::memcpy(&member, &all[at], sizeof member);
    out += fmt::format(" {} with weight {}", member.id, member.weight + 1);
  }
  return out;
}

void add_nexthops(Dumper& route, const Names& links, HostState& state) {
  route.dump(RTM_GETNEXTHOP, bytes(nhmsg{}), [&](const nlmsghdr* message) {
    auto* one = static_cast<const nhmsg*>(nlmsg_data(message));
    if (one->nh_protocol != by_nobody && !by_people(one->nh_protocol)) return;
    auto attribute = [&](std::uint16_t type) { return find(message, sizeof *one, type); };
    state[fmt::format("nexthop {}", number(attribute(NHA_ID)))] =
        attribute(NHA_GROUP) ? "group of" + group_text(attribute(NHA_GROUP))
                             : fmt::format("{} on {}", address_text(attribute(NHA_GATEWAY)),
                                           name_of(links, number(attribute(NHA_OIF)), "none"));
  });
}

void add_proxies(Dumper& route, const Names& links, HostState& state) {
  ndmsg request{};
  request.ndm_flags = NTF_PROXY;
  route.dump(RTM_GETNEIGH, bytes(request), [&](const nlmsghdr* message) {
    auto* one = static_cast<const ndmsg*>(nlmsg_data(message));
    if (!(one->ndm_flags & NTF_PROXY)) return;
    state[fmt::format("proxy for {} on {}", address_text(find(message, sizeof *one, NDA_DST)),
                      name_of(links, static_cast<std::uint32_t>(one->ndm_ifindex), "none"))] = "there";
  });
}

}  // namespace

void add_ip(Dumper& route, const Names& links, HostState& state) {
  add_addresses(route, links, state);
  add_routes(route, links, state);
  add_nexthops(route, links, state);
  add_proxies(route, links, state);
}

}  // namespace squall::snapshot
