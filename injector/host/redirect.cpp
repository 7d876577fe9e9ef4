#include "injector/host/redirect.hpp"

#include <array>
#include <utility>

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>

#include "injector/host/packet_detour.hpp"

namespace squall {
namespace {

using nft::Chain;
using nft::Family;
using nft::Rule;

constexpr const char* lead_chain = "lead";
constexpr std::uint32_t loopback_device = 1;  // in every network namespace

DetourRules same_table(const Redirect& redirect) {
  DetourRules out;
  out.table = redirect.table;
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

Rule& to_port(Rule& rule, std::uint16_t port) { return rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).is16(port); }

// What is none of ours leaves the chain.
void exceptions(netlink::Messages& messages, const Chain& chain, const Redirect& redirect) {
  const std::uint8_t flags = 0x17, syn = 0x02;  // FIN, SYN, RST and ACK
  const std::uint8_t tcp = IPPROTO_TCP;
  Rule{messages, chain}.meta(NFT_META_L4PROTO).compare(NFT_CMP_NEQ, {&tcp, 1}).leave();
  Rule{messages, chain}.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1).mask({&flags, 1}).compare(NFT_CMP_NEQ, {&syn, 1}).leave();
  Rule{messages, chain}.meta(NFT_META_MARK).is32(redirect.mark).leave();
  for (auto port : redirect.exempt) {
    Rule rule{messages, chain};
    to_port(rule, port).leave();
  }
  for (auto& peer : redirect.exempt_peers) {
    Rule rule{messages, chain};
    of_peer(rule, peer, false).leave();
  }
}

template <class T>
std::vector<const T*> each_or_none(const std::vector<T>& all) {
  std::vector<const T*> out;
  for (auto& one : all) out.push_back(&one);
  if (out.empty()) out.push_back(nullptr);
  return out;
}

void lead(netlink::Messages& messages, const Chain& chain, const Redirect& redirect, bool output) {
  const auto ports = redirect.listener ? std::vector{*redirect.listener} : redirect.ports;
  for (auto* peer : each_or_none(redirect.peers))
    for (auto* port : each_or_none(ports))
      for (auto* cgroup : each_or_none(redirect.cgroups)) {
        Rule rule{messages, chain};
        if (redirect.listener && output) rule.meta(NFT_META_OIF).is32(loopback_device);
        if (redirect.listener && !output) rule.destination_type().is32(RTN_LOCAL);
        if (peer) of_peer(rule, *peer, redirect.listener.has_value());
        if (port) to_port(rule, *port);
        if (cgroup) rule.socket_cgroup(cgroup->level).is64(cgroup->id);
        rule.go(lead_chain);
      }
}

}  // namespace

netlink::Messages add_redirect(const Redirect& redirect) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  nft::add_table(messages, Family::inet, redirect.table);
  const Chain leading{Family::inet, redirect.table, lead_chain};
  nft::add_chain(messages, leading);
  { Rule{messages, leading}.count().redirect(redirect.port); }
  for (auto [hook, name] : {std::pair{NF_INET_LOCAL_OUT, "made-here"}, std::pair{NF_INET_PRE_ROUTING, "arriving"}}) {
    if (hook == NF_INET_PRE_ROUTING && !redirect.listener) continue;
    const Chain base{Family::inet, redirect.table, name};
    nft::add_base_chain(messages, base, {.number = static_cast<std::uint32_t>(hook), .priority = NF_IP_PRI_NAT_DST, .device = "", .type = "nat"});
    exceptions(messages, base, redirect);
    lead(messages, base, redirect, hook == NF_INET_LOCAL_OUT);
  }
  nft::end_batch(messages);
  return messages;
}

netlink::Messages delete_redirect(const Redirect& redirect) { return delete_detour_tables(same_table(redirect)); }

std::uint64_t redirected(const Redirect& redirect) {
  return nft::counted({Family::inet, redirect.table, lead_chain});
}

Inverse redirect_removal(const Redirect& redirect, std::uint64_t network_namespace, pid_t namespace_pid) {
  return detour::owned_tables(same_table(redirect), network_namespace, namespace_pid);
}

}  // namespace squall
