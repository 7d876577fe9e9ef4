#include "injector/host/connections/connection_rules.hpp"

#include <array>
#include <cmath>
#include <utility>

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>

#include "injector/host/packets/packet_detour.hpp"
#include "injector/host/rules/netfilter_hooks.hpp"
#include "injector/host/rules/remembered_ends.hpp"

namespace squall {
namespace {

using nft::Chain;
using nft::Family;
using nft::Rule;

constexpr const char* lead_chain = "lead";
constexpr const char* refuse_chain = "refuse";
constexpr const char* limit_chain =
    "limiting";  // "limit" is a word of nft's language, and could not be read back
constexpr const char* datagrams_chain = "datagrams";
constexpr const char* leaving_chain = "leaving";
constexpr const char* unknown_chain = "unknown";
constexpr std::uint32_t parts = 1'000'000;    // of which a share is a number
constexpr std::uint32_t loopback_device = 1;  // in every network namespace

DetourRules same_table(const ConnectionRules& rules) {
  DetourRules out;
  out.table = rules.table;
  out.points.emplace_back();
  return out;
}

// The other side of a connection is where a packet from here goes to, and where one to a listener comes from.
Rule& of_peer(Rule& rule, const Prefix& peer, bool source) {
  const auto mask = peer.mask();
  const auto size = static_cast<std::uint32_t>(peer.bytes());
  rule.meta(NFT_META_NFPROTO).is8(peer.v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
  rule.payload(NFT_PAYLOAD_NETWORK_HEADER, peer.v6 ? (source ? 8 : 24) : (source ? 12 : 16), size);
  return rule.mask({mask.data(), size}).is({peer.address.data(), size});
}

Rule& to_port(Rule& rule, std::uint16_t port) {
  return rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).is16(port);
}

// A first SYN, or anything else.
Rule& first(Rule& rule, bool is) {
  const std::uint8_t flags = 0x17, syn = 0x02;  // FIN, SYN, RST and ACK
  return rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1)
      .mask({&flags, 1})
      .compare(is ? NFT_CMP_EQ : NFT_CMP_NEQ, {&syn, 1});
}

// What is none of ours leaves the chain.
void exceptions(netlink::Messages& messages, const Chain& chain, const ConnectionRules& rules) {
  const std::uint8_t tcp = IPPROTO_TCP;
  Rule{messages, chain}.meta(NFT_META_L4PROTO).compare(NFT_CMP_NEQ, {&tcp, 1}).leave();
  if (!rules.beyond) {
    Rule rule{messages, chain};
    first(rule, false).leave();
  }
  if (rules.mark) Rule{messages, chain}.meta(NFT_META_MARK).is32(rules.mark).leave();
  for (auto port : rules.exempt) {
    Rule rule{messages, chain};
    to_port(rule, port).leave();
  }
  for (auto& peer : rules.exempt_peers) {
    Rule rule{messages, chain};
    of_peer(rule, peer, false).leave();
  }
  for (auto& peer : rules.left_out) {
    Rule rule{messages, chain};
    of_peer(rule, peer, rules.listener.has_value()).leave();
  }
}

template <class T>
std::vector<const T*> each_or_none(const std::vector<T>& all) {
  std::vector<const T*> out;
  for (auto& one : all)
    out.push_back(&one);
  if (out.empty()) out.push_back(nullptr);
  return out;
}

void lead(netlink::Messages& messages, const Chain& chain, const ConnectionRules& rules, bool output) {
  const auto ports = rules.listener ? std::vector{*rules.listener} : rules.ports;
  for (auto* peer : each_or_none(rules.peers))
    for (auto* port : each_or_none(ports))
      for (auto* cgroup : each_or_none(rules.cgroups)) {
        Rule rule{messages, chain};
        const bool leads = rules.fate == ConnectionRules::Fate::lead;
        if (leads && rules.listener && output) rule.meta(NFT_META_OIF).is32(loopback_device);
        if (leads && rules.listener && !output) rule.destination_type().is32(RTN_LOCAL);
        if (peer) of_peer(rule, *peer, rules.listener.has_value());
        if (port) to_port(rule, *port);
        if (cgroup) of(rule, *cgroup);
        rule.go(rules.beyond ? limit_chain : lead_chain);
      }
}

Chain base_of(const ConnectionRules& rules, unsigned hook) {
  return {Family::inet, rules.table, hook == NF_INET_LOCAL_OUT ? "made-here" : "arriving"};
}

void base_chain(netlink::Messages& messages, const ConnectionRules& rules, unsigned hook) {
  const bool leads = rules.fate == ConnectionRules::Fate::lead;
  const auto base = base_of(rules, hook);
  const auto priority = leads                      ? NF_IP_PRI_NAT_DST
                        : hook == NF_INET_LOCAL_IN ? behind_ours(last_in_input)
                                                   : NF_IP_PRI_FILTER;
  nft::add_base_chain(messages, base,
                      {.number = hook, .priority = priority, .device = "", .type = leads ? "nat" : "filter"});
  exceptions(messages, base, rules);
  // They cannot be redirected from here: the address of loopback that they would be led to is not on their
  // device. Nor could a server answer such a client by lo.
  if (leads) {
    Rule rule{messages, base};
    of_peer(rule, {.v6 = true, .address = {0xfe, 0x80}, .length = 10}, hook == NF_INET_PRE_ROUTING).leave();
  }
  lead(messages, base, rules, hook == NF_INET_LOCAL_OUT);
}

nft::Set clients_of(const std::string& table, bool v6) {
  nft::Set out{Family::inet, table, v6 ? "clients6" : "clients4", 4};
  out.key_type = nft::class_id;
  out.value_bytes = v6 ? 16 : 4;
  out.value_type = v6 ? nft::ipv6_address : nft::ipv4_address;
  return out;
}

// Before anybody masquerades: the first who translates a connection's source decides.
void keep_clients(netlink::Messages& messages, const ConnectionRules& rules) {
  const Chain leaving{Family::inet, rules.table, leaving_chain};
  nft::add_base_chain(
      messages, leaving,
      {.number = NF_INET_POST_ROUTING, .priority = NF_IP_PRI_NAT_SRC - 1, .device = "", .type = "nat"});
  for (bool v6 : {false, true}) {
    const auto clients = clients_of(rules.table, v6);
    nft::add_set(messages, clients);
    Rule rule{messages, leaving};
    rule.meta(NFT_META_MARK).is32(rules.mark).meta(NFT_META_NFPROTO).is8(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    rule.meta(NFT_META_PRIORITY).entry_of(clients.name).source(v6);
  }
  // Where somebody else gives packets a priority, the server would take the client for this host: refused
  // rather than that.
  const Chain unknown{Family::inet, rules.table, unknown_chain};
  nft::add_base_chain(messages, unknown,
                      {.number = NF_INET_LOCAL_IN, .priority = behind_ours(last_in_input), .device = ""});
  Rule{messages, unknown}.meta(NFT_META_MARK).is_not32(rules.mark).leave();
  Rule{messages, unknown}
      .meta(NFT_META_PRIORITY)
      .is32(0)
      .leave();  // of a fault on those who connect from here
  Rule{messages, unknown}
      .meta(NFT_META_PRIORITY)
      .within32(client_priorities.first, client_priorities.second)
      .leave();
  Rule rule{messages, unknown};
  rule.meta(NFT_META_L4PROTO).is8(IPPROTO_TCP);
  first(to_port(rule, *rules.listener), true).count().reject(true);
}

}  // namespace

netlink::Messages add_connection_rules(const ConnectionRules& rules) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  nft::add_table(messages, Family::inet, rules.table);
  if (rules.remembers_ends) remembered_ends::add_sets(messages, Family::inet, rules.table);
  if (rules.counts_datagrams && rules.listener) {
    const Chain chain{Family::inet, rules.table, datagrams_chain};
    // Behind the queues of packet faults: a hook before one makes what waits in it wait twice.
    nft::add_base_chain(messages, chain,
                        {.number = NF_INET_LOCAL_IN, .priority = behind_ours(last_in_input), .device = ""});
    Rule rule{messages, chain};
    to_port(rule.meta(NFT_META_L4PROTO).is8(IPPROTO_UDP), *rules.listener).count();
  }
  const Chain leading{Family::inet, rules.table, lead_chain};
  nft::add_chain(messages, leading);
  using Fate = ConnectionRules::Fate;
  if (rules.fate == Fate::lead) {
    {
      // Only TCP comes here; nft cannot read a redirection to a port back without being told so.
      Rule rule{messages, leading};
      rule.meta(NFT_META_L4PROTO).is8(IPPROTO_TCP).count().redirect(rules.port);
    }
    base_chain(messages, rules, NF_INET_LOCAL_OUT);
    if (rules.listener) base_chain(messages, rules, NF_INET_PRE_ROUTING);
    if (rules.keeps_clients) keep_clients(messages, rules);
  } else {
    const Chain refusing{Family::inet, rules.table, refuse_chain};
    nft::add_chain(messages, refusing);
    {
      Rule rule{messages, refusing};
      rule.count();
      rules.fate == Fate::drop ? rule.drop() : rule.reject(true);
    }
    if (rules.remembers_ends) remembered_ends::add_rules(messages, leading);
    {
      Rule{messages, leading}.count();
    }
    {
      Rule rule{messages, leading};
      if (rules.share < 1) rule.chance(static_cast<std::uint32_t>(std::lround(rules.share * parts)), parts);
      rule.go(refuse_chain);
    }
    if (rules.beyond) {
      const Chain limiting{Family::inet, rules.table, limit_chain};
      nft::add_chain(messages, limiting);
      // One rule, which counts for all that lead here. Every packet has its connection counted; a first SYN
      // alone is refused.
      Rule rule{messages, limiting};
      first(rule.connections_beyond(*rules.beyond), true).go(lead_chain);
    }
    base_chain(messages, rules, rules.listener ? NF_INET_LOCAL_IN : NF_INET_LOCAL_OUT);
  }
  nft::end_batch(messages);
  return messages;
}

netlink::Messages lead_nobody(const ConnectionRules& rules) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  nft::delete_rules(messages, base_of(rules, NF_INET_LOCAL_OUT));
  if (rules.listener) nft::delete_rules(messages, base_of(rules, NF_INET_PRE_ROUTING));
  nft::end_batch(messages);
  return messages;
}

netlink::Messages introduce_client(const std::string& table, std::uint32_t priority,
                                   std::span<const std::uint8_t> address) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  nft::add_entry(messages, clients_of(table, address.size() == 16), priority, address);
  nft::end_batch(messages);
  return messages;
}

netlink::Messages delete_connection_rules(const ConnectionRules& rules) {
  return delete_detour_tables(same_table(rules));
}

std::string lost_rules(const ConnectionRules& rules) {
  const bool leads = rules.fate == ConnectionRules::Fate::lead;
  std::vector<Chain> chains{{Family::inet, rules.table, lead_chain}};
  if (leads || !rules.listener) chains.push_back(base_of(rules, NF_INET_LOCAL_OUT));
  if (rules.listener) chains.push_back(base_of(rules, leads ? NF_INET_PRE_ROUTING : NF_INET_LOCAL_IN));
  if (rules.keeps_clients) {
    chains.push_back({Family::inet, rules.table, leaving_chain});
    chains.push_back({Family::inet, rules.table, unknown_chain});
  }
  return lost_chains(rules.table, chains);
}

std::uint64_t attempts(const ConnectionRules& rules) {
  return nft::counted({Family::inet, rules.table, lead_chain});
}
std::uint64_t refused(const ConnectionRules& rules) {
  return nft::counted({Family::inet, rules.table, refuse_chain});
}

std::uint64_t datagrams(const ConnectionRules& rules) {
  return nft::counted({Family::inet, rules.table, datagrams_chain});
}

void read_ends(const ConnectionRules& rules, EndpointSet& into) {
  remembered_ends::read(Family::inet, rules.table, into);
}

Inverse connection_rules_removal(const ConnectionRules& rules, std::uint64_t network_namespace,
                                 pid_t namespace_pid) {
  return detour::owned_tables(same_table(rules), network_namespace, namespace_pid);
}

}  // namespace squall
