#include "injector/host/interfaces/interface_state.hpp"

#include <algorithm>

#include <net/if.h>

#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>

#include "injector/host/match/packet_match.hpp"

namespace squall::links {
namespace {

void change(std::uint32_t index, unsigned flags, unsigned mask, std::optional<std::uint32_t> mtu) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg info{};
  info.ifi_index = static_cast<int>(index);
  info.ifi_flags = flags;
  info.ifi_change = mask;
  messages.begin(RTM_NEWLINK, NLM_F_ACK, info);
  if (mtu) messages.u32(IFLA_MTU, *mtu);
  netlink::must(route, messages);
}

// Itself, and what has no other way than it.
std::vector<Link> cut_off(const InterfaceState& state) {
  std::vector<Link> out{state.link};
  for (auto& upper : state.uppers)
    if (upper.cut_off) out.push_back(upper.link);
  return out;
}

// The device that packets to the address leave by; 0 where there is no way.
std::uint32_t way_to(const Prefix& target) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  rtmsg request{};
  request.rtm_family = target.v6 ? AF_INET6 : AF_INET;
  request.rtm_dst_len = static_cast<unsigned char>(target.bytes() * 8);
  messages.begin(RTM_GETROUTE, NLM_F_ACK, request);
  messages.bytes(RTA_DST, target.address.data(), target.bytes());
  std::uint32_t found = 0;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWROUTE) return;
    if (const auto* out = netlink::find(message, sizeof(rtmsg), RTA_OIF)) found = nla_get_u32(out);
  });
  return found;
}

}  // namespace

std::optional<InterfaceState> read_state(const std::string& name) {
  const auto links = all();
  const auto link = std::find_if(links.begin(), links.end(), [&](auto& one) { return one.name == name; });
  if (link == links.end()) return {};
  InterfaceState out{.link = *link, .uppers = uppers_of(*link, links), .tables = {}};
  Devices devices{.down = {link->index}, .dark = {}};
  for (auto& upper : out.uppers)
    (upper.goes_down ? devices.down : devices.dark).insert(upper.link.index);
  out.tables = read_tables(devices);
  return out;
}

std::string default_route_by(const InterfaceState& state) {
  for (auto& link : cut_off(state))
    if (state.tables.with_default_route.contains(link.index)) return link.name;
  return "";
}

bool leads_to(const InterfaceState& state, const std::string& address) {
  const auto targets = resolve_peers(address);
  if (!targets) return false;
  const auto devices = cut_off(state);
  return std::any_of(targets->begin(), targets->end(), [&](auto& target) {
    return std::any_of(devices.begin(), devices.end(),
                       [way = way_to(target)](auto& link) { return link.index == way; });
  });
}

void set_up(std::uint32_t index, bool up) {
  change(index, up ? IFF_UP : 0, IFF_UP, {});
}
void set_mtu(std::uint32_t index, std::uint32_t mtu) {
  change(index, 0, 0, mtu);
}

void set_loose(std::uint32_t vlan, bool loose) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg info{};
  info.ifi_index = static_cast<int>(vlan);
  messages.begin(RTM_NEWLINK, NLM_F_ACK, info);
  {
    const auto about = messages.nest(IFLA_LINKINFO);
    messages.text(IFLA_INFO_KIND, "vlan");
    const auto data = messages.nest(IFLA_INFO_DATA);
    const ifla_vlan_flags flags{loose ? VLAN_FLAG_LOOSE_BINDING : 0U, VLAN_FLAG_LOOSE_BINDING};
    messages.bytes(IFLA_VLAN_FLAGS, &flags, sizeof flags);
  }
  netlink::must(route, messages);
}

}  // namespace squall::links
