#include "injector/host/rules/socket_owner.hpp"

#include <algorithm>
#include <array>

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <fmt/format.h>

namespace squall {

using nft::Rule;

std::string to_string(const SocketCgroup& one) {
  return one.class_id ? fmt::format("net_cls class {:#x}", one.class_id) : fmt::format("cgroup {}", one.id);
}

Rule& of(Rule& rule, const SocketCgroup& one) {
  if (one.class_id) return rule.meta(NFT_META_CGROUP).is32(one.class_id);
  return rule.socket_cgroup(one.level).is64(one.id);
}

namespace conversations {
namespace {

constexpr std::uint32_t most = 200'000;

// One family and protocol, and how its packets' addresses and ports become a key.
struct Kind {
  bool v6;
  std::uint8_t protocol;

  std::string set() const { return v6 ? "talks6" : "talks4"; }
  static std::uint32_t key_bytes(bool v6) { return v6 ? 44 : 20; }

  Rule& is(Rule& rule) const {
    return rule.meta(NFT_META_NFPROTO)
        .is8(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4)
        .meta(NFT_META_L4PROTO)
        .is8(protocol);
  }

  // As the packet has it, or as its answer will.
  Rule& key(Rule& rule, bool answer) const {
    const std::uint32_t source = v6 ? 8 : 12, size = v6 ? 16 : 4, words = size / 4, first = Rule::first_word;
    rule.payload(NFT_PAYLOAD_NETWORK_HEADER, answer ? source + size : source, size, first);
    rule.payload(NFT_PAYLOAD_NETWORK_HEADER, answer ? source : source + size, size, first + words);
    rule.meta(NFT_META_L4PROTO, first + 2 * words);
    rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, answer ? 2 : 0, 2, first + 2 * words + 1);
    return rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, answer ? 0 : 2, 2, first + 2 * words + 2);
  }
};

constexpr std::array<Kind, 4> kinds{
    {{false, IPPROTO_TCP}, {false, IPPROTO_UDP}, {true, IPPROTO_TCP}, {true, IPPROTO_UDP}}};

}  // namespace

bool needed(const std::vector<SocketCgroup>& cgroups) {
  return std::any_of(cgroups.begin(), cgroups.end(), [](auto& one) { return one.class_id != 0; });
}

void add(netlink::Messages& messages, const std::string& table, const std::vector<SocketCgroup>& cgroups) {
  for (const bool v6 : {false, true})
    nft::add_set(messages, {nft::Family::inet, table, Kind{v6, 0}.set(), Kind::key_bytes(v6), most,
                            remembered_s * 1000});
  // Before an address is translated: the answer's has been translated back where it is looked up.
  const nft::Chain base{nft::Family::inet, table, "talking"};
  nft::add_base_chain(messages, base, {NF_INET_LOCAL_OUT, NF_IP_PRI_MANGLE, ""});
  for (auto& cgroup : cgroups)
    for (auto& kind : kinds) {
      if (!cgroup.class_id) continue;
      Rule rule{messages, base};
      kind.key(kind.is(of(rule, cgroup)), true).remember(kind.set());
    }
}

std::vector<std::function<void(Rule&)>> known(const std::vector<Listener>& listeners) {
  std::vector<std::function<void(Rule&)>> out;
  for (auto& kind : kinds)
    out.emplace_back([kind](Rule& rule) { kind.key(kind.is(rule), false).among(kind.set()); });
  for (auto& one : listeners)
    out.emplace_back([one](Rule& rule) {
      rule.meta(NFT_META_L4PROTO)
          .is8(one.udp ? IPPROTO_UDP : IPPROTO_TCP)
          .payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2)
          .is16(one.port);
    });
  return out;
}

}  // namespace conversations
}  // namespace squall
