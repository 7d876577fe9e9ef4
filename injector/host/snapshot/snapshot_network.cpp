#include "injector/host/snapshot/snapshot_network.hpp"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstring>
#include <set>

#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/host/snapshot/snapshot_ip.hpp"
#include "injector/system/digest.hpp"

namespace squall::snapshot {
namespace {

using netlink::Dumper;
using netlink::find;
using netlink::payload;
using netlink::text;

template <class Header>
std::span<const std::byte> bytes(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

std::map<int, std::string> add_links(Dumper& route, HostState& state) {
  std::map<int, std::string> names;
  route.dump(RTM_GETLINK, bytes(ifinfomsg{}), [&](const nlmsghdr* message) {
    auto* link = static_cast<const ifinfomsg*>(nlmsg_data(message));
    auto name = std::string(text(find(message, sizeof *link, IFLA_IFNAME)));
    auto kind = text(find(find(message, sizeof *link, IFLA_LINKINFO), IFLA_INFO_KIND));
    auto* mtu = find(message, sizeof *link, IFLA_MTU);
    names[link->ifi_index] = name;
    // IFF_RUNNING and IFF_LOWER_UP follow the carrier, which is not ours.
    state["link " + name] = fmt::format(
        "{} {}{}, mtu {}{}{}", kind.empty() ? "device" : kind, link->ifi_index,
        link->ifi_flags & IFF_UP ? " up" : " down", mtu ? nla_get_u32(mtu) : 0,
        link->ifi_flags & IFF_PROMISC ? ", promiscuous" : "", link->ifi_flags & IFF_NOARP ? ", no arp" : "");
  });
  return names;
}

std::string handle_text(std::uint32_t handle) {
  if (handle == TC_H_ROOT) return "root";
  if (handle == TC_H_INGRESS) return "ingress";
  if (handle == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) return "clsact ingress";
  if (handle == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)) return "clsact egress";
  if (TC_H_MIN(handle) == 0) return fmt::format("{:x}:", TC_H_MAJ(handle) >> 16);
  return fmt::format("{:x}:{:x}", TC_H_MAJ(handle) >> 16, TC_H_MIN(handle));
}

// What was configured of a qdisc or a class. htb counts packets inside its options (tc_htb_glob.direct_pkts).
std::string options_digest(std::string_view kind, const nlattr* options) {
  if (!options) return "";
  Digest digest;
  if (auto* glob = kind == "htb" ? find(options, TCA_HTB_INIT) : nullptr)
    digest.add(
        payload(glob).first(std::min<std::size_t>(payload(glob).size(), offsetof(tc_htb_glob, direct_pkts))));
  else
    digest.add(payload(options));
  return " with settings " + digest.text();
}

struct Qdisc {
  int link;
  std::uint32_t handle;
  std::string kind;
};

std::vector<Qdisc> add_qdiscs(Dumper& route, const std::map<int, std::string>& links, HostState& state) {
  std::vector<Qdisc> found;
  route.dump(RTM_GETQDISC, bytes(tcmsg{}), [&](const nlmsghdr* message) {
    auto* tc = static_cast<const tcmsg*>(nlmsg_data(message));
    auto kind = std::string(text(find(message, sizeof *tc, TCA_KIND)));
    auto link = links.find(tc->tcm_ifindex);
    if (link == links.end()) return;
    found.push_back({tc->tcm_ifindex, tc->tcm_handle, kind});
    auto where = tc->tcm_parent == TC_H_CLSACT ? kind : handle_text(tc->tcm_parent);
    state[fmt::format("qdisc {} of {}", where, link->second)] =
        fmt::format("{} {}{}", kind, handle_text(tc->tcm_handle),
                    options_digest(kind, find(message, sizeof *tc, TCA_OPTIONS)));
  });
  return found;
}

// Only of disciplines whose classes people make: fq_codel and sfq show each active flow as a class.
void add_classes(Dumper& route, const Qdisc& qdisc, const std::string& link, HostState& state) {
  static const std::set<std::string, std::less<>> classful{"htb", "hfsc", "drr", "qfq", "ets", "cbq"};
  if (!classful.contains(qdisc.kind)) return;
  tcmsg request{};
  request.tcm_ifindex = qdisc.link;
  request.tcm_parent = qdisc.handle;
  route.dump(RTM_GETTCLASS, bytes(request), [&](const nlmsghdr* message) {
    auto* tc = static_cast<const tcmsg*>(nlmsg_data(message));
    auto kind = text(find(message, sizeof *tc, TCA_KIND));
    state[fmt::format("class {} of {}", handle_text(tc->tcm_handle), link)] =
        fmt::format("{} below {}{}", kind, handle_text(tc->tcm_parent),
                    options_digest("", find(message, sizeof *tc, TCA_OPTIONS)));
  });
}

// A filter is known by its place and handle; its options are left out, because actions count and keep times
// in them.
void add_filters(Dumper& route, int index, std::uint32_t parent, const std::string& link, HostState& state) {
  tcmsg request{};
  request.tcm_ifindex = index;
  request.tcm_parent = parent;
  route.dump(RTM_GETTFILTER, bytes(request), [&](const nlmsghdr* message) {
    auto* tc = static_cast<const tcmsg*>(nlmsg_data(message));
    state[fmt::format("filter at {} of {}, preference {}, handle {:x}", handle_text(parent), link,
                      TC_H_MAJ(tc->tcm_info) >> 16, tc->tcm_handle)] =
        fmt::format("{} for protocol {:04x}", text(find(message, sizeof *tc, TCA_KIND)),
                    ntohs(static_cast<std::uint16_t>(TC_H_MIN(tc->tcm_info))));
  });
}

std::string family_text(std::uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_NETDEV:
      return "netdev";
    case NFPROTO_BRIDGE:
      return "bridge";
    default:
      return fmt::format("family{}", family);
  }
}

// One table's chains, rules and sets, as far as people configure them.
struct Table {
  int chains = 0, rules = 0, sets = 0;
  Digest digest;
};

// An expression of a rule without what the kernel counts in it (nft_counter, nft_quota and nft_last write to
// their own attributes; so do some xtables matches behind nft_compat).
void add_expression(const nlattr* element, Digest& digest) {
  static const std::set<std::string_view> counting{"counter", "quota", "last"};
  static const std::set<std::string_view> counting_matches{"limit", "statistic", "quota", "hashlimit",
                                                           "connbytes"};
  auto name = text(find(element, NFTA_EXPR_NAME));
  digest.add(name);
  if (counting.contains(name)) return;
  auto* data = find(element, NFTA_EXPR_DATA);
  auto inner = name == "match" || name == "target" ? text(find(data, NFTA_MATCH_NAME)) : std::string_view{};
  if (counting_matches.contains(inner))
    digest.add(inner);
  else if (data)
    digest.add(payload(data));
}

using Tables = std::map<std::string, Table>;

// Calls back for every object of one kind with the table it belongs to.
void each_object(Dumper& filter, std::uint16_t get, std::uint16_t table_attribute, Tables& tables,
                 const std::function<void(const nlmsghdr*, Table&)>& each) {
  nfgenmsg request{.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0, .res_id = 0};
  auto type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | get);
  filter.dump(type, bytes(request), [&](const nlmsghdr* message) {
    auto* header = static_cast<const nfgenmsg*>(nlmsg_data(message));
    auto name = text(find(message, sizeof *header, table_attribute));
    each(message, tables[fmt::format("nftables table {} {}", family_text(header->nfgen_family), name)]);
  });
}

void add_attributes(const nlmsghdr* message, std::initializer_list<std::uint16_t> types, Digest& digest) {
  for (auto type : types)
    if (auto* attribute = find(message, sizeof(nfgenmsg), type)) digest.add(payload(attribute));
}

}  // namespace

void add_devices(HostState& state) {
  Dumper route(NETLINK_ROUTE);
  auto links = add_links(route, state);
  add_ip(route, links, state);
  for (auto& qdisc : add_qdiscs(route, links, state)) {
    auto& link = links[qdisc.link];
    add_classes(route, qdisc, link, state);
    if (qdisc.kind == "clsact" || qdisc.kind == "ingress") {
      add_filters(route, qdisc.link, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), link, state);
      if (qdisc.kind == "clsact")
        add_filters(route, qdisc.link, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), link, state);
    } else if (qdisc.kind != "noqueue" && qdisc.handle != 0) {
      add_filters(route, qdisc.link, qdisc.handle, link, state);
    }
  }
}

void add_nftables(HostState& state) {
  Dumper filter(NETLINK_NETFILTER);
  Tables tables;
  each_object(filter, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, tables, [](const nlmsghdr* message, Table& table) {
    add_attributes(message, {NFTA_TABLE_FLAGS}, table.digest);
  });
  each_object(filter, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, tables, [](const nlmsghdr* message, Table& table) {
    ++table.chains;
    add_attributes(message, {NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE},
                   table.digest);
  });
  each_object(filter, NFT_MSG_GETSET, NFTA_SET_TABLE, tables, [](const nlmsghdr* message, Table& table) {
    ++table.sets;
    add_attributes(message, {NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN},
                   table.digest);
  });
  each_object(filter, NFT_MSG_GETRULE, NFTA_RULE_TABLE, tables, [](const nlmsghdr* message, Table& table) {
    ++table.rules;
    add_attributes(message, {NFTA_RULE_CHAIN}, table.digest);
    auto* expressions = find(message, sizeof(nfgenmsg), NFTA_RULE_EXPRESSIONS);
    netlink::each_attribute(payload(expressions),
                            [&](const nlattr* element) { add_expression(element, table.digest); });
  });
  for (auto& [name, table] : tables)
    state[name] = fmt::format("{} chains, {} rules, {} sets, digest {}", table.chains, table.rules,
                              table.sets, table.digest.text());
}

}  // namespace squall::snapshot
