#include "injector/host/rules/point_rules.hpp"

#include <algorithm>
#include <array>

#include <netinet/in.h>

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <fmt/format.h>

namespace squall {

using nft::Chain;
using nft::Family;
using nft::Rule;

namespace {

constexpr std::uint32_t first_neighbour_type = 133, last_neighbour_type = 137;  // RFC 4861
constexpr std::uint32_t loopback = 1;  // LOOPBACK_IFINDEX in include/net/flow.h

Family family_of(const HoldPoint& point) {
  return at_device(point) ? Family::netdev : Family::inet;
}

namespace pieces {

// As long as the pieces of a packet are under way after the first, and no longer: its number is soon
// another's.
constexpr std::uint64_t remembered_ms = 1000;
constexpr std::uint32_t most = 65'535, v4_bytes = 16, v6_bytes = 36;

std::string set(bool v6) {
  return v6 ? "pieces6" : "pieces4";
}

// A first piece, behind which others come; or one of those.
Rule& is(Rule& rule, bool v6, bool first) {
  rule.meta(NFT_META_PROTOCOL).is16(v6 ? ETH_P_IPV6 : ETH_P_IP);
  if (v6) rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 6, 1).is8(IPPROTO_FRAGMENT);
  rule.payload(NFT_PAYLOAD_NETWORK_HEADER, v6 ? 42 : 6, 2);
  const std::array<std::uint8_t, 2> place = v6 ? std::array<std::uint8_t, 2>{0xff, 0xf8}
                                               : std::array<std::uint8_t, 2>{0x1f, 0xff},
                                    none{0, 0};
  const std::array<std::uint8_t, 2> place_and_more =
      v6 ? std::array<std::uint8_t, 2>{0xff, 0xf9} : std::array<std::uint8_t, 2>{0x3f, 0xff};
  const std::array<std::uint8_t, 2> more =
      v6 ? std::array<std::uint8_t, 2>{0, 1} : std::array<std::uint8_t, 2>{0x20, 0};
  return first ? rule.mask(place_and_more).is(more) : rule.mask(place).compare(NFT_CMP_NEQ, none);
}

Rule& key(Rule& rule, bool v6) {
  constexpr auto word = Rule::first_word;
  if (v6)
    return rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 8, 32, word)
        .payload(NFT_PAYLOAD_NETWORK_HEADER, 44, 4, word + 8);
  return rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 8, word)
      .payload(NFT_PAYLOAD_NETWORK_HEADER, 4, 2, word + 2)
      .payload(NFT_PAYLOAD_NETWORK_HEADER, 9, 1, word + 3);
}

}  // namespace pieces

// The first of the points that mean the same packets and do the same to them: their rules are written once.
std::size_t first_like(const DetourRules& rules, std::size_t number) {
  const auto& wanted = rules.points[number];
  for (std::size_t i = 0; i < number; ++i) {
    auto& one = rules.points[i];
    if (one.at == wanted.at && one.marked == wanted.marked && one.match == wanted.match &&
        hold_chain(rules, one).name == hold_chain(rules, wanted).name)
      return i;
  }
  return number;
}

std::string point_name(std::size_t number) {
  return fmt::format("p{}", number);
}

// Writes the rules of one point, from the last question to the first, since a jump needs a chain that exists.
class PointRules {
 public:
  PointRules(netlink::Messages& messages, const DetourRules& rules, const HoldPoint& point,
             std::size_t number)
      : messages_(messages),
        match_(point.match),
        peers_(point.match.peers),
        prefix_(point_name(number)),
        family_(family_of(point)),
        table_(rules.table),
        sender_bit_(point.marked ? sender_bit(rules.senders) : 0),
        next_(hold_chain(rules, point).name) {
    if (point.marked) unmark();
    const auto taken = next_;
    if (!match_.ports.empty()) remember_first_pieces();
    for (std::size_t i = match_.ports.size(); i-- > 0;)
      port_condition(match_.ports[i], i);
    const auto then = next_;
    const auto v4 = family(false, then), v6 = family(true, then);
    const auto start = add(prefix_);
    if (!match_.ports.empty()) take_later_pieces(start, taken);
    if (!v4.empty()) Rule{messages_, start}.meta(NFT_META_PROTOCOL).is16(ETH_P_IP).go(v4);
    if (!v6.empty()) Rule{messages_, start}.meta(NFT_META_PROTOCOL).is16(ETH_P_IPV6).go(v6);
  }

  // More peers at the end of the chains there are; a family that had none gets its chains.
  PointRules(netlink::Messages& messages, const DetourRules& rules, const HoldPoint& point,
             std::size_t number, std::span<const Prefix> more)
      : messages_(messages),
        match_(point.match),
        peers_(more),
        prefix_(point_name(number)),
        family_(family_of(point)),
        table_(rules.table),
        sender_bit_(point.marked ? sender_bit(rules.senders) : 0),
        next_(hold_chain(rules, point).name) {
    if (point.marked) next_ = unmark_name();
    if (!match_.ports.empty()) next_ = ports_name(0);
    for (const bool v6 : {false, true}) {
      if (has(v6, match_.peers) && has(v6, peers_))
        peers(v6, {family_, table_, family_name(v6)},
              protocols_of(match_, v6).empty() ? next_ : protocol_name(v6));
      else if (const auto chain = family(v6, next_); !chain.empty())
        Rule{messages_, {family_, table_, prefix_}}
            .meta(NFT_META_PROTOCOL)
            .is16(v6 ? ETH_P_IPV6 : ETH_P_IP)
            .go(chain);
    }
  }

 private:
  Chain add(const std::string& name) {
    Chain chain{family_, table_, name};
    nft::add_chain(messages_, chain);
    return chain;
  }

  std::string unmark_name() const { return prefix_ + "-unmark"; }
  std::string ports_name(std::size_t number) const { return fmt::format("{}-ports{}", prefix_, number); }
  std::string protocol_name(bool v6) const { return fmt::format("{}-protocol{}", prefix_, v6 ? 6 : 4); }
  std::string family_name(bool v6) const { return fmt::format("{}-v{}", prefix_, v6 ? 6 : 4); }
  static bool has(bool v6, std::span<const Prefix> peers) {
    return std::any_of(peers.begin(), peers.end(), [&](auto& peer) { return peer.v6 == v6; });
  }

  void unmark() {
    const auto chain = add(unmark_name());
    Rule{messages_, chain}.meta(NFT_META_MARK).bits(~sender_bit_, 0).set_mark().go(next_);
    next_ = chain.name;
  }

  // The piece of a packet that was cut is known by addresses, protocol and number: the first one is
  // remembered,
  void remember_first_pieces() {
    const auto chain = add(prefix_ + "-pieces");
    for (const bool v6 : {false, true}) {
      Rule rule{messages_, chain};
      pieces::key(pieces::is(rule, v6, true), v6).remember(pieces::set(v6));
    }
    Rule{messages_, chain}.go(next_);
    next_ = chain.name;
  }

  // and others are taken as it was.
  void take_later_pieces(const Chain& start, const std::string& taken) {
    for (const bool v6 : {false, true}) {
      Rule rule{messages_, start};
      pieces::key(pieces::is(rule, v6, false), v6).among(pieces::set(v6)).go(taken);
    }
  }

  void port_condition(const PortCondition& condition, std::size_t number) {
    const auto chain = add(ports_name(number));
    for (auto port : condition.ports) {
      if (condition.side != Side::destination)
        Rule{messages_, chain}.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2).is16(port).go(next_);
      if (condition.side != Side::source)
        Rule{messages_, chain}.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).is16(port).go(next_);
    }
    next_ = chain.name;
  }

  void peers(bool v6, const Chain& chain, const std::string& then) {
    const std::uint32_t source = v6 ? 8 : 12, destination = v6 ? 24 : 16;
    auto one = [&](const Prefix& peer, std::uint32_t offset) {
      const auto size = static_cast<std::uint32_t>(peer.bytes());
      const auto mask = peer.mask();
      Rule rule{messages_, chain};
      rule.payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size);
      if (peer.length < 8 * size) rule.mask({mask.data(), size});
      rule.is({peer.address.data(), size}).go(then);
    };
    std::vector<std::uint8_t> whole;  // addresses, one behind another
    for (auto& peer : peers_) {
      if (peer.v6 != v6) continue;
      if (peer.length == 8 * peer.bytes()) {
        whole.insert(whole.end(), peer.address.begin(),
                     peer.address.begin() + static_cast<std::ptrdiff_t>(peer.bytes()));
        continue;
      }
      if (match_.peer != Side::destination) one(peer, source);
      if (match_.peer != Side::source) one(peer, destination);
    }
    if (!whole.empty()) hosts(v6, chain, whole, then);
  }

  // Whole addresses are found by one look-up, however many there are.
  void hosts(bool v6, const Chain& chain, std::span<const std::uint8_t> addresses, const std::string& then) {
    const nft::Set set{family_,
                       table_,
                       chain.name + "-hosts",
                       v6 ? 16U : 4U,
                       0,
                       0,
                       v6 ? nft::ipv6_address : nft::ipv4_address};
    const bool more = peers_.data() != match_.peers.data();
    const bool there = more && std::any_of(match_.peers.begin(), match_.peers.end(), [&](auto& peer) {
                         return peer.v6 == v6 && peer.length == 8 * peer.bytes();
                       });
    if (!there) nft::add_set(messages_, set);
    nft::add_keys(messages_, set, addresses);
    if (there) return;
    // The protocol is known here; nft reads the address back only where the rule itself says it.
    auto among = [&](std::uint32_t offset) {
      Rule rule{messages_, chain};
      if (family_ == Family::inet)
        rule.meta(NFT_META_NFPROTO).is8(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
      else
        rule.meta(NFT_META_PROTOCOL).is16(v6 ? ETH_P_IPV6 : ETH_P_IP);
      rule.payload(NFT_PAYLOAD_NETWORK_HEADER, offset, set.key_bytes).among(set.name).go(then);
    };
    if (match_.peer != Side::destination) among(v6 ? 8 : 12);
    if (match_.peer != Side::source) among(v6 ? 24 : 16);
  }

  // Once the address fits: the protocol.
  std::string protocol(bool v6, const std::string& then) {
    const auto wanted = protocols_of(match_, v6);
    if (wanted.empty()) return then;
    const auto chain = add(protocol_name(v6));
    for (auto one : wanted)
      Rule{messages_, chain}.meta(NFT_META_L4PROTO).is8(one).go(then);
    return chain.name;
  }

  std::string family(bool v6, std::string then) {
    if (!peers_.empty() && !has(v6, peers_)) return "";
    then = protocol(v6, then);
    const auto chain = add(family_name(v6));
    if (v6) {
      const std::uint8_t first = first_neighbour_type, last = last_neighbour_type;
      Rule{messages_, chain}
          .meta(NFT_META_L4PROTO)
          .is8(IPPROTO_ICMPV6)
          .payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1)
          .compare(NFT_CMP_GTE, {&first, 1})
          .compare(NFT_CMP_LTE, {&last, 1})
          .leave();
    }
    for (auto port : match_.exempt)
      for (std::uint32_t offset : {0U, 2U})
        Rule{messages_, chain}
            .meta(NFT_META_L4PROTO)
            .is8(IPPROTO_TCP)
            .payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2)
            .is16(port)
            .leave();
    for (auto* spared : {&match_.exempt_peers, &match_.left_out})
      for (auto& peer : *spared)
        if (peer.v6 == v6) leave_alone(chain, peer);
    if (peers_.empty())
      Rule{messages_, chain}.go(then);
    else
      peers(v6, chain, then);
    return chain.name;
  }

  void leave_alone(const Chain& chain, const Prefix& peer) {
    const auto mask = peer.mask();
    for (const std::uint32_t offset : {peer.v6 ? 8U : 12U, peer.v6 ? 24U : 16U})
      Rule{messages_, chain}
          .payload(NFT_PAYLOAD_NETWORK_HEADER, offset, static_cast<std::uint32_t>(peer.bytes()))
          .mask({mask.data(), peer.bytes()})
          .is({peer.address.data(), peer.bytes()})
          .leave();
  }

  netlink::Messages& messages_;
  const PacketMatch& match_;
  std::span<const Prefix> peers_;
  std::string prefix_;
  Family family_;
  std::string table_;
  std::uint32_t sender_bit_;
  std::string next_;
};

}  // namespace

bool at_device(const HoldPoint& point) {
  return point.at == HoldPoint::At::leaving || point.at == HoldPoint::At::entering;
}

Chain hold_chain(const DetourRules& rules, const HoldPoint& point) {
  using At = HoldPoint::At;
  std::string name = "hold";
  if (rules.fate == DetourRules::Fate::detour)
    name += at_device(point) ? "-" + point.device : "";
  else if (point.watched)
    name = "watched";
  else if (point.at == At::leaving || point.at == At::sent || point.marked)
    name += "-out";
  else
    name += point.at == At::arriving && point.interface == loopback ? "-lo" : "-in";
  return {family_of(point), rules.table, name};
}

void add_piece_sets(netlink::Messages& messages, Family family, std::string_view table) {
  for (const bool v6 : {false, true})
    nft::add_set(messages, {family, std::string(table), pieces::set(v6),
                            v6 ? pieces::v6_bytes : pieces::v4_bytes, pieces::most, pieces::remembered_ms});
}

std::string add_point_rules(netlink::Messages& messages, const DetourRules& rules, std::size_t number) {
  const auto first = first_like(rules, number);
  if (first == number) PointRules{messages, rules, rules.points[number], number};
  return point_name(first);
}

void add_point_peers(netlink::Messages& messages, const DetourRules& rules, std::size_t number,
                     std::span<const Prefix> more) {
  if (first_like(rules, number) == number) PointRules{messages, rules, rules.points[number], number, more};
}

}  // namespace squall
