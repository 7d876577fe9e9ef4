#include "injector/host/netlink/uppers.hpp"

#include <algorithm>
#include <array>

#include <fcntl.h>

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>

#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::links {

// vlan_device_event and dsa_user_netdevice_event close them with their lower device; in a VLAN's case but for
// loose binding.
bool closes_with_lower(const Link& link) {
  return (link.kind == "vlan" && !link.loose) || link.kind == "dsa";
}

// Those that follow NETDEV_CHANGEMTU of their lower device, or of their ports.
bool shrinks_with_lower(const Link& link) {
  constexpr std::array<std::string_view, 7> kinds{"vlan",   "macvlan", "macvtap", "ipvlan",
                                                  "ipvtap", "macsec",  "bridge"};
  return std::find(kinds.begin(), kinds.end(), link.kind) != kinds.end();
}

namespace {

// What the thread's network namespace calls another one; -1 where it has no name for it.
int number_of(const Fd& network_namespace) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  messages.begin(RTM_GETNSID, NLM_F_ACK, rtgenmsg{});
  messages.u32(NETNSA_FD, static_cast<std::uint32_t>(network_namespace.get()));
  int out = -1;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type == RTM_NEWNSID)
      out = netlink::value<int>(netlink::find(message, sizeof(rtgenmsg), NETNSA_NSID));
  });
  return out;
}

bool only_port(const Link& port, const std::vector<Link>& all) {
  return std::none_of(all.begin(), all.end(), [&](auto& other) {
    return other.master == port.master && other.index != port.index && other.up;
  });
}

}  // namespace

std::vector<Upper> uppers_of(const Link& lower, const std::vector<Link>& all) {
  std::vector<Upper> found{{lower, true, true, true}};
  const auto known = [&](const Link& link) {
    return std::any_of(found.begin(), found.end(), [&](auto& one) { return one.link.index == link.index; });
  };
  for (std::size_t at = 0; at < found.size(); ++at) {
    const auto below = found[at];
    for (auto& link : all) {
      const bool stands = link.lower == below.link.index && link.lower_namespace < 0,
                 has_port = below.link.master == link.index;
      if ((!stands && !has_port) || known(link)) continue;
      found.push_back({link, below.goes_down && stands && closes_with_lower(link),
                       below.cut_off && (stands || only_port(below.link, all)),
                       below.shrinks && shrinks_with_lower(link)});
    }
  }
  found.erase(found.begin());
  return found;
}

std::vector<Elsewhere> uppers_elsewhere(const Link& lower) {
  const Fd here{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
  std::vector<Elsewhere> out;
  for (auto inode : network_namespaces()) {
    if (inode == current_network_namespace()) continue;
    try {
      in_network_namespace(inode, 0, [&] {
        for (auto& link : all())
          if (link.lower == lower.index && link.lower_namespace >= 0 &&
              link.lower_namespace == number_of(here))
            out.push_back({link, inode});
      });
    } catch (const std::exception&) {
      // It is gone by now, or not ours to enter.
    }
  }
  return out;
}

}  // namespace squall::links
