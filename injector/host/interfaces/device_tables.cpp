#include "injector/host/interfaces/device_tables.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include "injector/system/process.hpp"

namespace squall::links {
namespace {

constexpr unsigned char by_kernel = 2;  // RTPROTO_KERNEL

template <class Header>
void each(netlink::Dumper& dumper, std::uint16_t type, const Header& request,
          const std::function<void(const nlmsghdr*, Header)>& visit) {
  dumper.dump(type, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* message) {
    Header header{};
    std::memcpy(&header, nlmsg_data(message), std::min<std::size_t>(nlmsg_datalen(message), sizeof header));
    visit(message, header);
  });
}

void read_addresses(netlink::Dumper& dumper, const Devices& of, Tables& out) {
  ifaddrmsg request{};
  request.ifa_family = AF_INET6;
  each<ifaddrmsg>(dumper, RTM_GETADDR, request, [&](const nlmsghdr* message, ifaddrmsg header) {
    if (header.ifa_family != AF_INET6) return;
    out.with_ipv6.insert(header.ifa_index);
    if (of.down.contains(header.ifa_index)) out.addresses.push_back(keep(message, header, {}));
  });
}

// What the kernel tells of a nexthop, but for what it refuses to be told (rtm_nh_policy_new): its scope,
// states of the moment, what is said of the answer itself, and for how long a resilient group has been out of
// balance.
Kept keep_nexthop(const nlmsghdr* message, nhmsg header) {
  header.nh_scope = 0;
  header.nh_flags &= RTNH_F_ONLINK;
  constexpr std::uint16_t op_flags = 14, group_stats = 15, hardware_stats = 16, hardware_stats_used = 17;
  auto out =
      keep(message, header, {NHA_RES_GROUP, op_flags, group_stats, hardware_stats, hardware_stats_used});
  const auto* resilient = netlink::find(message, sizeof header, NHA_RES_GROUP);
  if (!resilient) return out;
  netlink::Messages nested;
  nested.begin(0, 0, std::span<const std::byte>{});
  {
    const auto nest = nested.nest(NHA_RES_GROUP);
    netlink::each_attribute(netlink::payload(resilient), [&](const nlattr* one) {
      const auto type = nla_type(one);
      if (type != NHA_RES_GROUP_PAD && type != NHA_RES_GROUP_UNBALANCED_TIME)
        nested.bytes(type, nla_data(one), nla_len(one));
    });
  }
  const auto data = nested.data().subspan(sizeof(nlmsghdr));
  out.payload.insert(out.payload.end(), data.begin(), data.end());
  return out;
}

std::vector<nexthop_grp> members(const nlattr* group) {
  const auto bytes = netlink::payload(group);
  std::vector<nexthop_grp> out(bytes.size() / sizeof(nexthop_grp));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(nexthop_grp));
  return out;
}

// Their numbers: those on one of the devices, and groups with one of those in them.
std::set<std::uint32_t> read_nexthops(netlink::Dumper& dumper, const Devices& of, Tables& out) {
  std::vector<Kept> groups;
  std::set<std::uint32_t> ids;
  each<nhmsg>(dumper, RTM_GETNEXTHOP, nhmsg{}, [&](const nlmsghdr* message, nhmsg header) {
    auto one = keep_nexthop(message, header);
    if (one.find(NHA_GROUP)) {
      groups.push_back(std::move(one));
    } else if (of.any(one.number(NHA_OIF))) {
      ids.insert(one.number(NHA_ID));
      out.nexthops.push_back(std::move(one));
    }
  });
  const auto singles = ids;
  for (auto& group : groups) {
    const auto in = members(group.find(NHA_GROUP));
    if (std::none_of(in.begin(), in.end(), [&](auto& member) { return singles.contains(member.id); }))
      continue;
    ids.insert(group.number(NHA_ID));
    out.nexthops.push_back(std::move(group));
  }
  return ids;
}

// The devices that a route leads through; the flags of its next hops, which tell of the moment, are cleared.
std::set<std::uint32_t> ways(Kept& route) {
  std::set<std::uint32_t> out;
  if (route.find(RTA_OIF)) out.insert(route.number(RTA_OIF));
  const auto hops = netlink::payload(route.find(RTA_MULTIPATH));
  // The bytes are the route's own.
  auto* begin = const_cast<char*>(reinterpret_cast<const char*>(hops.data()));
  for (std::size_t at = 0; at + sizeof(rtnexthop) <= hops.size();) {
    rtnexthop hop{};
    std::memcpy(&hop, begin + at, sizeof hop);
    if (hop.rtnh_len < sizeof hop) break;
    out.insert(static_cast<std::uint32_t>(hop.rtnh_ifindex));
    hop.rtnh_flags &= RTNH_F_ONLINK;
    std::memcpy(begin + at, &hop, sizeof hop);
    at += RTNH_ALIGN(hop.rtnh_len);
  }
  return out;
}

Kept keep_route(const nlmsghdr* message, rtmsg header) {
  header.rtm_flags &= RTNH_F_ONLINK;
  // Where a route has a nexthop object, the kernel tells what that says as well, and refuses to be told both.
  auto out = netlink::find(message, sizeof header, RTA_NH_ID)
                 ? keep(message, header,
                        {RTA_CACHEINFO, RTA_EXPIRES, RTA_OIF, RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_ENCAP,
                         RTA_ENCAP_TYPE, RTA_FLOW})
                 : keep(message, header, {RTA_CACHEINFO, RTA_EXPIRES});
  const auto cached = netlink::value<rta_cacheinfo>(netlink::find(message, sizeof header, RTA_CACHEINFO));
  if (header.rtm_family == AF_INET6 && cached.rta_expires > 0)
    out.until = boottime_ns() + std::int64_t{cached.rta_expires} * 10'000'000;  // USER_HZ is 100
  return out;
}

std::string key_of(const Kept& route) {
  const auto header = route.header<rtmsg>();
  std::string out;
  for (auto byte : {header.rtm_family, header.rtm_dst_len, header.rtm_src_len, header.rtm_tos})
    out += static_cast<char>(byte);
  for (auto type : {RTA_TABLE, RTA_PRIORITY, RTA_DST, RTA_SRC}) {
    const auto bytes = netlink::payload(route.find(static_cast<std::uint16_t>(type)));
    if (!bytes.empty()) out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    out += '|';
  }
  return out;
}

void read_routes(netlink::Dumper& dumper, const Devices& of, const std::set<std::uint32_t>& nexthops,
                 Tables& out) {
  std::map<std::string, int> keys;
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    rtmsg request{};
    request.rtm_family = family;
    each<rtmsg>(dumper, RTM_GETROUTE, request, [&](const nlmsghdr* message, rtmsg header) {
      if (header.rtm_family != family || header.rtm_flags & RTM_F_CLONED) return;
      // Local, broadcast and multicast routes come with the addresses, and with the device.
      if (header.rtm_protocol == by_kernel && header.rtm_type != RTN_UNICAST) return;
      auto route = keep_route(message, header);
      ++keys[key_of(route)];
      const auto through = ways(route);
      if (header.rtm_dst_len == 0 && header.rtm_type == RTN_UNICAST)
        out.with_default_route.insert(through.begin(), through.end());
      const bool lost = route.find(RTA_NH_ID) ? nexthops.contains(route.number(RTA_NH_ID))
                                              : std::any_of(through.begin(), through.end(), [&](auto index) {
                                                  return of.down.contains(index);
                                                });
      if (lost) out.routes.push_back(std::move(route));
    });
  }
  for (auto& route : out.routes)
    route.shares_key = keys[key_of(route)] > 1;
  std::stable_partition(out.routes.begin(), out.routes.end(), [](auto& route) {
    return !route.find(RTA_GATEWAY) && !route.find(RTA_VIA) && !route.find(RTA_MULTIPATH) &&
           !route.find(RTA_NH_ID);
  });
}

void read_neighbours(netlink::Dumper& dumper, const Devices& of, Tables& out) {
  for (std::uint8_t flags : {0, NTF_PROXY}) {
    ndmsg request{};
    request.ndm_flags = flags;
    each<ndmsg>(dumper, RTM_GETNEIGH, request, [&](const nlmsghdr* message, ndmsg header) {
      const auto index = static_cast<std::uint32_t>(header.ndm_ifindex);
      const bool proxy = header.ndm_flags & NTF_PROXY;
      if (header.ndm_family == AF_BRIDGE || proxy != (flags == NTF_PROXY)) return;
      if (proxy ? of.any(index) : header.ndm_state & NUD_PERMANENT && of.down.contains(index))
        out.neighbours.push_back(keep(message, header, {NDA_CACHEINFO, NDA_PROBES}));
    });
  }
}

}  // namespace

Tables read_tables(const Devices& of) {
  Tables out;
  netlink::Dumper dumper{NETLINK_ROUTE};
  read_addresses(dumper, of, out);
  const auto nexthops = read_nexthops(dumper, of, out);
  read_routes(dumper, of, nexthops, out);
  read_neighbours(dumper, of, out);
  return out;
}

std::optional<Kept> read_nexthop(netlink::Socket& route, std::uint32_t id) {
  netlink::Messages messages;
  messages.begin(RTM_GETNEXTHOP, NLM_F_ACK, nhmsg{});
  messages.u32(NHA_ID, id);
  std::optional<Kept> out;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWNEXTHOP) return;
    nhmsg header{};
    std::memcpy(&header, nlmsg_data(message), sizeof header);
    out = keep_nexthop(message, header);
  });
  return out;
}

}  // namespace squall::links
