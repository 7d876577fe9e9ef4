#include "injector/host/interface_state.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/netlink.hpp"
#include "injector/host/netlink_dump.hpp"
#include "injector/host/packet_match.hpp"
#include "injector/host/records.hpp"

namespace squall::links {
namespace {

using Payload = std::vector<char>;

constexpr unsigned char by_kernel = 2, by_router = 9;  // RTPROTO_KERNEL and RTPROTO_RA of <linux/rtnetlink.h>

std::string to_hex(const Payload& bytes) {
  std::string out;
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

Payload from_hex(const std::string& text) {
  Payload out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) out.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

// A message's header and attributes, but those that tell of the moment.
template <class Header>
Payload without(const nlmsghdr* message, Header header, std::initializer_list<std::uint16_t> left_out) {
  Payload out(NLMSG_ALIGN(sizeof header));
  std::memcpy(out.data(), &header, sizeof header);
  const auto* begin = static_cast<const std::byte*>(mnl_nlmsg_get_payload(message));
  const std::span<const std::byte> rest{begin + NLMSG_ALIGN(sizeof header), mnl_nlmsg_get_payload_len(message) - NLMSG_ALIGN(sizeof header)};
  netlink::each_attribute(rest, [&](const nlattr* attribute) {
    if (std::find(left_out.begin(), left_out.end(), mnl_attr_get_type(attribute)) != left_out.end()) return;
    const auto* bytes = reinterpret_cast<const char*>(attribute);
    out.insert(out.end(), bytes, bytes + attribute->nla_len);
    out.resize((out.size() + 3) & ~std::size_t{3});
  });
  return out;
}

// Whether the device is among the next hops; their flags, which tell of the moment, are cleared.
bool through(Payload& route, std::uint32_t index) {
  bool found = false;
  for (std::size_t at = NLMSG_ALIGN(sizeof(rtmsg)); at + sizeof(nlattr) <= route.size();) {
    auto* attribute = reinterpret_cast<nlattr*>(route.data() + at);
    if (attribute->nla_len < sizeof(nlattr)) break;
    auto* value = route.data() + at + sizeof(nlattr);
    if ((attribute->nla_type & NLA_TYPE_MASK) == RTA_OIF) {
      std::uint32_t out = 0;
      std::memcpy(&out, value, sizeof out);
      found |= out == index;
    }
    if ((attribute->nla_type & NLA_TYPE_MASK) == RTA_MULTIPATH)
      for (std::size_t inner = 0; inner + sizeof(rtnexthop) <= attribute->nla_len - sizeof(nlattr);) {
        auto* hop = reinterpret_cast<rtnexthop*>(value + inner);
        if (hop->rtnh_len < sizeof(rtnexthop)) break;
        found |= static_cast<std::uint32_t>(hop->rtnh_ifindex) == index;
        hop->rtnh_flags &= RTNH_F_ONLINK;
        inner += (hop->rtnh_len + 3U) & ~3U;
      }
    at += (attribute->nla_len + 3U) & ~3U;
  }
  return found;
}

void read_addresses(netlink::Dumper& route, InterfaceState& state) {
  ifaddrmsg request{};
  request.ifa_family = AF_INET6;
  route.dump(RTM_GETADDR, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* message) {
    auto header = *static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    if (header.ifa_family == AF_INET6 && header.ifa_index == state.link.index) state.addresses.push_back(to_hex(without(message, header, {})));
  });
}

void read_routes(netlink::Dumper& route, InterfaceState& state) {
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    rtmsg request{};
    request.rtm_family = family;
    route.dump(RTM_GETROUTE, std::as_bytes(std::span(&request, 1)), [&](const nlmsghdr* message) {
      auto header = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
      if (header.rtm_family != family || header.rtm_flags & RTM_F_CLONED) return;
      header.rtm_flags &= RTNH_F_ONLINK;
      auto payload = without(message, header, {RTA_CACHEINFO, RTA_EXPIRES});
      if (!through(payload, state.link.index)) return;
      state.default_route |= header.rtm_dst_len == 0 && header.rtm_type == RTN_UNICAST;
      // What the kernel makes itself, from addresses and from routers' announcements, it makes again.
      if (header.rtm_protocol == by_kernel || header.rtm_protocol == by_router || header.rtm_table == RT_TABLE_LOCAL) return;
      state.routes.push_back(to_hex(payload));
    });
  }
}

void read_neighbours(netlink::Dumper& route, InterfaceState& state) {
  route.dump(RTM_GETNEIGH, std::as_bytes(std::span(std::array<ndmsg, 1>{}.data(), 1)), [&](const nlmsghdr* message) {
    auto header = *static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
    if (header.ndm_state & NUD_PERMANENT && static_cast<std::uint32_t>(header.ndm_ifindex) == state.link.index && header.ndm_family != AF_BRIDGE)
      state.neighbours.push_back(to_hex(without(message, header, {NDA_CACHEINFO, NDA_PROBES})));
  });
}

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

// True where it is there now.
bool make(netlink::Socket& route, std::uint16_t type, const std::string& hex, bool& added) {
  const auto payload = from_hex(hex);
  netlink::Messages messages;
  messages.begin(type, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, std::as_bytes(std::span(payload)));
  const auto answer = route.exchange(messages);
  added |= static_cast<bool>(answer);
  return answer || answer.error == EEXIST;
}

std::vector<std::string> make_all(const InterfaceState& state, bool& added) {
  netlink::Socket route{NETLINK_ROUTE};
  std::vector<std::string> missing;
  // The kernel puts each before the others, and asks the first ones first for a source address.
  for (auto one = state.addresses.rbegin(); one != state.addresses.rend(); ++one)
    if (!make(route, RTM_NEWADDR, *one, added)) missing.push_back(*one);
  // A gateway has to be reachable by a route that may come later.
  auto routes = state.routes;
  for (bool more = true; more && !routes.empty();) more = std::erase_if(routes, [&](auto& one) { return make(route, RTM_NEWROUTE, one, added); }) > 0;
  missing.insert(missing.end(), routes.begin(), routes.end());
  for (auto& one : state.neighbours)
    if (!make(route, RTM_NEWNEIGH, one, added)) missing.push_back(one);
  return missing;
}

boost::json::object record(const InterfaceState& state, std::uint64_t network_namespace, pid_t in) {
  return {{"name", state.link.name}, {"index", state.link.index}, {"netns", network_namespace}, {"pid", in}};
}

}  // namespace

std::optional<InterfaceState> read_state(const std::string& name) {
  auto link = find(name);
  if (!link) return {};
  InterfaceState out;
  out.link = *link;
  netlink::Dumper route{NETLINK_ROUTE};
  read_addresses(route, out);
  read_routes(route, out);
  read_neighbours(route, out);
  return out;
}

bool has_ipv6(const InterfaceState& state) { return !state.addresses.empty(); }

bool leads_to(const InterfaceState& state, const std::string& address) {
  auto targets = resolve_peers(address);
  if (!targets) return false;
  for (auto& target : *targets) {
    netlink::Socket route{NETLINK_ROUTE};
    netlink::Messages messages;
    rtmsg request{};
    request.rtm_family = target.v6 ? AF_INET6 : AF_INET;
    request.rtm_dst_len = static_cast<unsigned char>(target.bytes() * 8);
    messages.begin(RTM_GETROUTE, NLM_F_ACK, request);
    messages.bytes(RTA_DST, target.address.data(), target.bytes());
    bool found = false;
    route.exchange(messages, [&](const nlmsghdr* message) {
      if (message->nlmsg_type != RTM_NEWROUTE) return;
      const auto* out = netlink::find(message, sizeof(rtmsg), RTA_OIF);
      found |= out && mnl_attr_get_u32(out) == state.link.index;
    });
    if (found) return true;
  }
  return false;
}

void set_up(std::uint32_t index, bool up) { change(index, up ? IFF_UP : 0, IFF_UP, {}); }
void set_mtu(std::uint32_t index, std::uint32_t mtu) { change(index, 0, 0, mtu); }

std::vector<std::string> add_again(const InterfaceState& state, bool* changed) {
  bool added = false;
  auto missing = make_all(state, added);
  if (changed) *changed |= added;
  return missing;
}

Inverse up_again(const InterfaceState& state, std::uint64_t network_namespace, pid_t in) {
  auto with = record(state, network_namespace, in);
  for (auto [key, list] : {std::pair{"addresses", &state.addresses}, std::pair{"routes", &state.routes}, std::pair{"neighbours", &state.neighbours}}) {
    boost::json::array all;
    for (auto& one : *list) all.emplace_back(one);
    with[key] = std::move(all);
  }
  return {"interface.up", std::move(with)};
}

Inverse mtu_again(const InterfaceState& state, std::uint32_t ours, std::uint64_t network_namespace, pid_t in) {
  auto with = record(state, network_namespace, in);
  with["mtu"] = state.link.mtu;
  with["ours"] = ours;
  return {"interface.mtu", std::move(with)};
}

}  // namespace squall::links

namespace squall::undo {
namespace {

// The device, where it is still the same one.
std::optional<links::Link> same(const boost::json::object& with) {
  auto link = links::find(text_of(with, "name"));
  if (link && link->index != number_of(with, "index")) link.reset();
  return link;
}

std::vector<std::string> texts_of(const boost::json::object& with, const char* key) {
  std::vector<std::string> out;
  if (auto* list = with.if_contains(key); list && list->is_array())
    for (auto& one : list->get_array())
      if (one.is_string()) out.emplace_back(one.get_string());
  return out;
}

std::string describe_up(const boost::json::object& with) {
  return fmt::format("put {} up again, with its {} IPv6 addresses, {} routes and {} permanent neighbours", text_of(with, "name"), texts_of(with, "addresses").size(), texts_of(with, "routes").size(),
                     texts_of(with, "neighbours").size());
}

Undone bring_up(const boost::json::object& with) {
  links::InterfaceState state;
  const auto link = same(with);
  if (!link) return {UndoOutcome::already, "", ""};  // all of it went with the device
  state.link = *link;
  state.addresses = texts_of(with, "addresses");
  state.routes = texts_of(with, "routes");
  state.neighbours = texts_of(with, "neighbours");
  bool changed = false;
  if (!link->up) {
    links::set_up(link->index, true);
    changed = true;
  }
  const auto missing = links::add_again(state, &changed);
  if (!missing.empty())
    return {UndoOutcome::failed, fmt::format("{} is up, but {} of its addresses and routes cannot be added", link->name, missing.size()), "ip route; ip -6 address"};
  return {changed ? UndoOutcome::undone : UndoOutcome::already, "", ""};
}

std::string describe_mtu(const boost::json::object& with) { return fmt::format("set the MTU of {} to {} again", text_of(with, "name"), number_of(with, "mtu")); }

Undone set_mtu(const boost::json::object& with) {
  const auto link = same(with);
  const auto mtu = static_cast<std::uint32_t>(number_of(with, "mtu"));
  if (!link || link->mtu == mtu) return {UndoOutcome::already, "", ""};
  if (link->mtu != number_of(with, "ours"))
    return {UndoOutcome::conflict, fmt::format("the MTU of {} is {}, which is neither ours nor the one before", link->name, link->mtu), fmt::format("ip link set {} mtu {}", link->name, mtu)};
  links::set_mtu(link->index, mtu);
  return {};
}

Undone carry_out_up(const boost::json::object& with) { return in_namespace_of(with, bring_up); }
Undone carry_out_mtu(const boost::json::object& with) { return in_namespace_of(with, set_mtu); }

}  // namespace

const UndoVerb interface_up{"interface.up", describe_up, carry_out_up};
const UndoVerb interface_mtu{"interface.mtu", describe_mtu, carry_out_mtu};

}  // namespace squall::undo
