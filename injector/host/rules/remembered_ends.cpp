#include "injector/host/rules/remembered_ends.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "injector/host/netlink/netlink_dump.hpp"

namespace squall::remembered_ends {
namespace {

constexpr std::uint32_t most = 65'536;
constexpr std::uint64_t remembered_ms = 60'000;

std::string name_of(bool v6) {
  return v6 ? "ends6" : "ends4";
}
std::uint32_t address_bytes(bool v6) {
  return v6 ? 16 : 4;
}
// What nft reads the sets back with: each part's number of enum datatypes in its include/datatype.h, six bits
// apart.
std::uint32_t key_type(bool v6) {
  constexpr std::uint32_t inet_proto = 12, inet_service = 13;
  std::uint32_t out = 0;
  for (const auto part : {v6 ? nft::ipv6_address : nft::ipv4_address,
                          v6 ? nft::ipv6_address : nft::ipv4_address, inet_proto, inet_service, inet_service})
    out = out << 6 | part;
  return out;
}
// Two addresses, and a word each for the protocol and two ports.
std::uint32_t key_bytes(bool v6) {
  return 2 * address_bytes(v6) + 12;
}

void add_rule(netlink::Messages& messages, const nft::Chain& chain, bool v6, std::uint8_t protocol) {
  const std::uint32_t size = address_bytes(v6), source = v6 ? 8 : 12, word = nft::Rule::first_word;
  nft::Rule rule{messages, chain};
  // By these nft knows the addresses for what they are when it lists the rule.
  if (chain.family == nft::Family::inet)
    rule.meta(NFT_META_NFPROTO).is8(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
  else
    rule.meta(NFT_META_PROTOCOL).is16(v6 ? ETH_P_IPV6 : ETH_P_IP);
  rule.meta(NFT_META_L4PROTO).is8(protocol);
  rule.payload(NFT_PAYLOAD_NETWORK_HEADER, source, size, word);
  rule.payload(NFT_PAYLOAD_NETWORK_HEADER, source + size, size, word + size / 4);
  rule.meta(NFT_META_L4PROTO, word + size / 2);
  rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, word + size / 2 + 1);
  rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, word + size / 2 + 2);
  rule.remember(name_of(v6));
}

void take_key(std::span<const std::byte> key, bool v6, EndpointSet& into) {
  if (key.size() < key_bytes(v6)) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(key.data());
  const std::size_t size = address_bytes(v6);
  auto port = [&](std::size_t word) {
    return static_cast<std::uint16_t>(bytes[2 * size + 4 * word] << 8 | bytes[2 * size + 4 * word + 1]);
  };
  into.add(endpoint_of(bytes[2 * size], {bytes, size}, port(1)));
  into.add(endpoint_of(bytes[2 * size], {bytes + size, size}, port(2)));
}

}  // namespace

void add_sets(netlink::Messages& messages, nft::Family family, const std::string& table) {
  for (const bool v6 : {false, true})
    nft::add_set(messages, {family, table, name_of(v6), key_bytes(v6), most, remembered_ms, key_type(v6)});
}

void add_rules(netlink::Messages& messages, const nft::Chain& chain) {
  for (const bool v6 : {false, true})
    for (std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP})
      add_rule(messages, chain, v6, protocol);
}

void read(nft::Family family, const std::string& table, EndpointSet& into) {
  netlink::Dumper dumper{NETLINK_NETFILTER};
  const nfgenmsg head{static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
  const auto type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM);
  for (const bool v6 : {false, true}) {
    netlink::Messages wanted;
    wanted.begin(type, 0, head);
    wanted.text(NFTA_SET_ELEM_LIST_TABLE, table);
    wanted.text(NFTA_SET_ELEM_LIST_SET, name_of(v6));
    dumper.dump(type, std::as_bytes(wanted.data().subspan(NLMSG_HDRLEN)), [&](const nlmsghdr* message) {
      netlink::each_attribute(
          netlink::payload(netlink::find(message, sizeof head, NFTA_SET_ELEM_LIST_ELEMENTS)),
          [&](const nlattr* element) {
            take_key(
                netlink::payload(netlink::find(netlink::find(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE)),
                v6, into);
          });
    });
  }
}

}  // namespace squall::remembered_ends
