#include "injector/host/interfaces/ipv6_mtu.hpp"

#include <algorithm>

#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/interfaces/device_tables.hpp"
#include "injector/system/read_file.hpp"

namespace squall::links {
namespace {

bool among(std::uint32_t value, std::span<const std::uint32_t> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Where a route says its MTU; nullptr where it does not, or is none of IPv6.
char* mtu_within(Kept& route) {
  if (route.header<rtmsg>().rtm_family != AF_INET6 || route.shares_key) return nullptr;
  const auto* mtu = netlink::find(route.find(RTA_METRICS), RTAX_MTU);
  // The bytes are the route's own.
  return mtu && netlink::payload(mtu).size() == sizeof(std::uint32_t)
             ? reinterpret_cast<char*>(const_cast<nlattr*>(mtu)) + NLA_HDRLEN
             : nullptr;
}

// Its MTU, which is taken out of it, so that what is left can be compared.
std::uint32_t take_mtu(Kept& route) {
  std::uint32_t out = 0;
  if (auto* at = mtu_within(route)) {
    std::memcpy(&out, at, sizeof out);
    std::memset(at, 0, sizeof out);
  }
  return out;
}

}  // namespace

bool put_back_ipv6_mtu(const Link& as_it_was, std::span<const std::uint32_t> made) {
  const auto now = as_it_was.ipv6_mtu ? find_again(as_it_was) : std::nullopt;
  if (!now || now->ipv6_mtu == as_it_was.ipv6_mtu || as_it_was.ipv6_mtu > now->mtu ||
      !among(now->ipv6_mtu, made))
    return false;
  write_file(fmt::format("/proc/sys/net/ipv6/conf/{}/mtu", now->name), std::to_string(as_it_was.ipv6_mtu),
             fmt::format("set net.ipv6.conf.{}.mtu", now->name));
  return true;
}

std::vector<Kept> routes_with_mtu(const std::vector<Kept>& routes) {
  std::vector<Kept> out;
  for (auto route : routes)
    if (mtu_within(route)) out.push_back(std::move(route));
  return out;
}

bool put_back_mtus(const std::vector<Kept>& as_they_were, std::span<const std::uint32_t> made) {
  if (as_they_were.empty()) return false;
  Devices of;
  for (auto& route : as_they_were)
    of.down.insert(route.number(RTA_OIF));
  std::vector<std::pair<Kept, std::uint32_t>> there;
  for (auto& route : read_tables(of).routes) {
    auto rest = route;
    const auto mtu = take_mtu(rest);
    there.emplace_back(std::move(rest), mtu);
  }
  bool changed = false;
  netlink::Socket route{NETLINK_ROUTE};
  for (auto& before : as_they_were) {
    auto rest = before;
    const auto mtu = take_mtu(rest);
    for (auto& [now, now_mtu] : there)
      if (now.same(rest) && now_mtu != mtu && among(now_mtu, made))
        changed |= static_cast<bool>(make(route, before, NLM_F_CREATE | NLM_F_REPLACE));
  }
  return changed;
}

}  // namespace squall::links
