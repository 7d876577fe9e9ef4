#include "injector/host/interfaces/ip_commands.hpp"

#include <array>

#include <arpa/inet.h>
#include <net/if.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

namespace squall::links {
namespace {

std::string address(std::span<const std::byte> bytes) {
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (bytes.size() == 4 || bytes.size() == 16)
    ::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), out.data(), out.size());
  return out.data();
}

std::string address(const Kept& thing, int attribute) {
  return address(netlink::payload(thing.find(static_cast<std::uint16_t>(attribute))));
}

std::string device(std::uint32_t index) {
  std::array<char, IF_NAMESIZE> name{};
  return ::if_indextoname(index, name.data()) ? name.data() : fmt::format("if{}", index);
}

// " via inet6 fe80::1": RTA_VIA is a family and an address of it.
std::string via(const nlattr* gateway, const nlattr* other_family) {
  if (gateway) return " via " + address(netlink::payload(gateway));
  const auto bytes = netlink::payload(other_family);
  return bytes.size() > 2 ? " via inet6 " + address(bytes.subspan(2)) : "";
}

// Two kinds of them carry a family only in the command.
std::string ip(int family) {
  return family == AF_INET6 ? "ip -6" : "ip";
}

std::string type_text(unsigned type) {
  constexpr std::array<const char*, 12> names{"",          "",           "local ",     "broadcast ",
                                              "anycast ",  "multicast ", "blackhole ", "unreachable ",
                                              "prohibit ", "throw ",     "nat ",       ""};
  return type < names.size() ? names[type] : "";
}

std::string metrics_text(const nlattr* metrics) {
  constexpr std::array<const char*, 18> names{"",         "",         "mtu",      "window",  "rtt",
                                              "rttvar",   "ssthresh", "cwnd",     "advmss",  "reordering",
                                              "hoplimit", "initcwnd", "features", "rto_min", "initrwnd",
                                              "quickack", "congctl",  ""};
  std::uint32_t locked = 0;
  if (const auto* lock = netlink::find(metrics, RTAX_LOCK)) locked = nla_get_u32(lock);
  std::string out;
  netlink::each_attribute(netlink::payload(metrics), [&](const nlattr* one) {
    const auto type = nla_type(one);
    if (type == RTAX_LOCK || type >= static_cast<int>(names.size()) || !*names[type]) return;
    // ip(8) locks the smallest timeout by itself.
    const auto name =
        fmt::format(" {}{}", names[type], type != RTAX_RTO_MIN && locked >> type & 1 ? " lock" : "");
    if (type == RTAX_CC_ALGO) out += name + " " + std::string(netlink::text(one));
    if (type == RTAX_FEATURES || type == RTAX_CC_ALGO) return;
    // The kernel counts round trips in eighths and quarters of a millisecond.
    const auto unit = type == RTAX_RTT ? 8U : type == RTAX_RTTVAR ? 4U : 1U;
    out += fmt::format("{} {}{}", name, nla_get_u32(one) / unit,
                       type == RTAX_RTT || type == RTAX_RTTVAR || type == RTAX_RTO_MIN ? "ms" : "");
  });
  return out;
}

std::string hops_text(const Kept& route) {
  std::string out;
  auto rest = netlink::payload(route.find(RTA_MULTIPATH));
  while (rest.size() >= sizeof(rtnexthop)) {
    rtnexthop hop{};
    std::memcpy(&hop, rest.data(), sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > rest.size()) break;
    const nlattr *gateway = nullptr, *other = nullptr;
    netlink::each_attribute(rest.subspan(sizeof hop, hop.rtnh_len - sizeof hop), [&](const nlattr* one) {
      if (nla_type(one) == RTA_GATEWAY) gateway = one;
      if (nla_type(one) == RTA_VIA) other = one;
    });
    out += fmt::format(" nexthop{} dev {} weight {}{}", via(gateway, other),
                       device(static_cast<std::uint32_t>(hop.rtnh_ifindex)), hop.rtnh_hops + 1,
                       hop.rtnh_flags & RTNH_F_ONLINK ? " onlink" : "");
    rest = rest.subspan(std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), rest.size()));
  }
  return out;
}

std::string route_command(const Kept& route, const std::string& verb) {
  const auto header = route.header<rtmsg>();
  const auto target = address(route, RTA_DST);
  auto out = fmt::format("{} route {} {}{}", ip(header.rtm_family), verb, type_text(header.rtm_type),
                         target.empty() ? "default" : fmt::format("{}/{}", target, header.rtm_dst_len));
  if (const auto from = address(route, RTA_SRC); !from.empty())
    out += fmt::format(" from {}/{}", from, header.rtm_src_len);
  if (header.rtm_tos) out += fmt::format(" tos {:#x}", header.rtm_tos);
  if (const auto id = route.number(RTA_NH_ID)) out += fmt::format(" nhid {}", id);
  out += via(route.find(RTA_GATEWAY), route.find(RTA_VIA));
  if (route.find(RTA_OIF)) out += " dev " + device(route.number(RTA_OIF));
  out += fmt::format(" table {} proto {}", route.find(RTA_TABLE) ? route.number(RTA_TABLE) : header.rtm_table,
                     header.rtm_protocol);
  if (header.rtm_family == AF_INET) out += fmt::format(" scope {}", header.rtm_scope);
  if (route.find(RTA_PRIORITY)) out += fmt::format(" metric {}", route.number(RTA_PRIORITY));
  if (const auto source = address(route, RTA_PREFSRC); !source.empty()) out += " src " + source;
  if (const auto* preference = route.find(RTA_PREF); preference && nla_get_u8(preference))
    out += nla_get_u8(preference) == 1 ? " pref high" : " pref low";
  out += metrics_text(route.find(RTA_METRICS)) +
         (header.rtm_flags & RTNH_F_ONLINK && route.find(RTA_OIF) ? " onlink" : "") + hops_text(route);
  return out + (route.find(RTA_ENCAP) ? " encap …" : "");
}

std::string address_command(const Kept& thing, const std::string& verb) {
  const auto header = thing.header<ifaddrmsg>();
  const auto flags = thing.find(IFA_FLAGS) ? thing.number(IFA_FLAGS) : header.ifa_flags;
  const auto peer = address(thing, IFA_ADDRESS), local = address(thing, IFA_LOCAL);
  auto out = fmt::format("{} address {} {}/{} dev {}", ip(header.ifa_family), verb,
                         local.empty() ? peer : local + " peer " + peer, header.ifa_prefixlen,
                         device(header.ifa_index));
  constexpr std::array<std::pair<std::uint32_t, const char*>, 5> words{
      {{IFA_F_NODAD, " nodad"},
       {IFA_F_NOPREFIXROUTE, " noprefixroute"},
       {IFA_F_HOMEADDRESS, " home"},
       {IFA_F_MANAGETEMPADDR, " mngtmpaddr"},
       {IFA_F_MCAUTOJOIN, " autojoin"}}};
  for (auto& [flag, word] : words)
    if (flags & flag) out += word;
  if (!thing.find(IFA_CACHEINFO)) return out;
  const auto times = netlink::value<ifa_cacheinfo>(thing.find(IFA_CACHEINFO));
  constexpr std::uint32_t ever = 0xffffffff;
  if (times.ifa_valid != ever) out += fmt::format(" valid_lft {}", times.ifa_valid);
  if (times.ifa_prefered != ever) out += fmt::format(" preferred_lft {}", times.ifa_prefered);
  return out;
}

std::string group_text(const Kept& nexthop) {
  std::string out;
  const auto bytes = netlink::payload(nexthop.find(NHA_GROUP));
  for (std::size_t at = 0; at + sizeof(nexthop_grp) <= bytes.size(); at += sizeof(nexthop_grp)) {
    nexthop_grp member{};
    std::memcpy(&member, &bytes[at], sizeof member);
    out += fmt::format("{}{},{}", at ? "/" : " group ", member.id, member.weight + 1);
  }
  const auto* resilient = nexthop.find(NHA_RES_GROUP);
  if (!resilient) return out;
  out += " type resilient";
  if (const auto* buckets = netlink::find(resilient, NHA_RES_GROUP_BUCKETS))
    out += fmt::format(" buckets {}", nla_get_u16(buckets));
  for (auto [type, word] : {std::pair{NHA_RES_GROUP_IDLE_TIMER, "idle_timer"},
                            std::pair{NHA_RES_GROUP_UNBALANCED_TIMER, "unbalanced_timer"}})
    if (const auto* ticks = netlink::find(resilient, static_cast<std::uint16_t>(type)))
      out += fmt::format(" {} {}", word, nla_get_u32(ticks) / 100);  // USER_HZ
  return out;
}

std::string nexthop_command(const Kept& nexthop, const std::string& verb) {
  const auto header = nexthop.header<nhmsg>();
  auto out = fmt::format("{} nexthop {} id {}", ip(header.nh_family), verb, nexthop.number(NHA_ID));
  out += group_text(nexthop) + via(nexthop.find(NHA_GATEWAY), nullptr);
  if (nexthop.find(NHA_OIF)) out += " dev " + device(nexthop.number(NHA_OIF));
  if (header.nh_protocol) out += fmt::format(" proto {}", header.nh_protocol);
  if (header.nh_flags & RTNH_F_ONLINK) out += " onlink";
  return out + (nexthop.find(NHA_ENCAP) ? " encap …" : "");
}

std::string hardware_address(std::span<const std::byte> bytes) {
  std::string out;
  for (auto byte : bytes)
    out += fmt::format("{}{:02x}", out.empty() ? "" : ":", static_cast<unsigned>(byte));
  return out;
}

std::string neighbour_command(const Kept& neighbour, const std::string& verb) {
  const auto header = neighbour.header<ndmsg>();
  const bool proxy = header.ndm_flags & NTF_PROXY;
  auto out = fmt::format("{} neighbour {} {}{} dev {}", ip(header.ndm_family), verb, proxy ? "proxy " : "",
                         address(neighbour, NDA_DST), device(static_cast<std::uint32_t>(header.ndm_ifindex)));
  if (const auto at = hardware_address(netlink::payload(neighbour.find(NDA_LLADDR))); !proxy && !at.empty())
    out += " lladdr " + at;
  if (!proxy) out += " nud permanent";
  return out + (header.ndm_flags & NTF_ROUTER ? " router" : "");
}

}  // namespace

std::string ip_command(const Kept& thing, const std::string& verb) {
  switch (thing.type) {
    case RTM_NEWADDR:
      return address_command(thing, verb);
    case RTM_NEWNEXTHOP:
      return nexthop_command(thing, verb);
    case RTM_NEWNEIGH:
      return neighbour_command(thing, verb);
    default:
      return route_command(thing, verb);
  }
}

}  // namespace squall::links
