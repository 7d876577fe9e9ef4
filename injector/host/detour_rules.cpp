#include "injector/host/detour_rules.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <span>
#include <thread>

#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <fmt/format.h>

namespace squall {

namespace {

using nft::Chain;
using nft::Family;
using nft::Rule;

constexpr std::uint32_t loopback = 1;  // LOOPBACK_IFINDEX in include/net/flow.h
constexpr std::int32_t before_raw = -390, last_in_input = 200, last_in_output = 300, last_in_forward = 200;
constexpr std::int32_t before_detours = -1;  // whose place is their number
// The mark: eight bits for senders, eight that tell ours from others', bits 14 and 15 left alone, a number.
constexpr std::uint32_t first_sender_bit = 24, sender_bits = 8, ours = 0x00710000, of_ours = 0x00ffffff, highest_number = 0x3fff;
constexpr std::uint32_t first_neighbour_type = 133, last_neighbour_type = 137;  // RFC 4861

// Whoever puts a hook before others makes the kernel lead what waits in a queue of theirs there once more (nf_reinject in
// net/netfilter/nf_queue.c counts on from the place of the hook): so each comes behind those that this process put there before.
std::int32_t behind_ours(std::int32_t first) {
  constexpr unsigned places = 80;
  static std::atomic<unsigned> made = 0;
  return first + static_cast<std::int32_t>(made++ % places);
}

bool at_device(const HoldPoint& point) { return point.at == HoldPoint::At::leaving || point.at == HoldPoint::At::entering; }
Family family_of(const HoldPoint& point) { return at_device(point) ? Family::netdev : Family::inet; }

// Those that know a packet by its sender come first: the mark that tells it is gone behind a detour.
std::uint32_t number_of(const DetourRules& rules) {
  constexpr std::uint32_t half = (highest_number + 1) / 2;
  std::uint32_t number = 0;
  for (const unsigned char letter : rules.table) number = (number * 257 + letter) % (half - 1);
  return number + 1 + (rules.senders.empty() ? half - 1 : 0);
}

// Detours that have seen a packet, or had their turn, let it pass.
void pass_detoured(netlink::Messages& messages, const DetourRules& rules, const Chain& chain) {
  // What is dropped or refused comes this way once, and it is dropped too where it comes from a detour.
  if (rules.fate != DetourRules::Fate::detour) return;
  Rule{messages, chain}.meta(NFT_META_MARK).bits(of_ours, 0).within32(ours | number_of(rules), ours | highest_number).accept();
}

// Where a point's packets come in the end.
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

// The first of the points that mean the same packets and do the same to them: their rules are written once.
std::size_t first_like(const DetourRules& rules, std::size_t number) {
  const auto& wanted = rules.points[number];
  for (std::size_t i = 0; i < number; ++i) {
    auto& one = rules.points[i];
    if (one.at == wanted.at && one.marked == wanted.marked && one.match == wanted.match && hold_chain(rules, one).name == hold_chain(rules, wanted).name) return i;
  }
  return number;
}

std::string point_name(std::size_t number) { return fmt::format("p{}", number); }

// Writes the rules of one point, from the last question to the first, since a jump needs a chain that exists.
class PointRules {
 public:
  PointRules(netlink::Messages& messages, const DetourRules& rules, const HoldPoint& point, std::size_t number)
      : messages_(messages), match_(point.match), peers_(point.match.peers), prefix_(point_name(number)), family_(family_of(point)),
        table_(rules.table), sender_bit_(point.marked ? sender_bit(rules.senders) : 0), next_(hold_chain(rules, point).name) {
    if (point.marked) unmark();
    for (std::size_t i = match_.ports.size(); i-- > 0;) port_condition(match_.ports[i], i);
    const auto then = next_;
    const auto v4 = family(false, then), v6 = family(true, then);
    const auto start = add(prefix_);
    if (!v4.empty()) Rule{messages_, start}.meta(NFT_META_PROTOCOL).is16(ETH_P_IP).go(v4);
    if (!v6.empty()) Rule{messages_, start}.meta(NFT_META_PROTOCOL).is16(ETH_P_IPV6).go(v6);
  }

  // More peers at the end of the chains there are; a family that had none gets its chains.
  PointRules(netlink::Messages& messages, const DetourRules& rules, const HoldPoint& point, std::size_t number, std::span<const Prefix> more)
      : messages_(messages), match_(point.match), peers_(more), prefix_(point_name(number)), family_(family_of(point)),
        table_(rules.table), sender_bit_(point.marked ? sender_bit(rules.senders) : 0), next_(hold_chain(rules, point).name) {
    if (point.marked) next_ = unmark_name();
    if (!match_.ports.empty()) next_ = ports_name(0);
    for (const bool v6 : {false, true}) {
      if (has(v6, match_.peers) && has(v6, peers_))
        peers(v6, {family_, table_, family_name(v6)}, protocols_of(match_, v6).empty() ? next_ : protocol_name(v6));
      else if (const auto chain = family(v6, next_); !chain.empty())
        Rule{messages_, {family_, table_, prefix_}}.meta(NFT_META_PROTOCOL).is16(v6 ? ETH_P_IPV6 : ETH_P_IP).go(chain);
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

  void port_condition(const PortCondition& condition, std::size_t number) {
    const auto chain = add(ports_name(number));
    for (auto port : condition.ports) {
      if (condition.side != Side::destination) Rule{messages_, chain}.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2).is16(port).go(next_);
      if (condition.side != Side::source) Rule{messages_, chain}.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).is16(port).go(next_);
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
        whole.insert(whole.end(), peer.address.begin(), peer.address.begin() + static_cast<std::ptrdiff_t>(peer.bytes()));
        continue;
      }
      if (match_.peer != Side::destination) one(peer, source);
      if (match_.peer != Side::source) one(peer, destination);
    }
    if (!whole.empty()) hosts(v6, chain, whole, then);
  }

  // Whole addresses are found by one look-up, however many there are.
  void hosts(bool v6, const Chain& chain, std::span<const std::uint8_t> addresses, const std::string& then) {
    const nft::Set set{family_, table_, chain.name + "-hosts", v6 ? 16U : 4U};
    const bool more = peers_.data() != match_.peers.data();
    const bool there = more && std::any_of(match_.peers.begin(), match_.peers.end(), [&](auto& peer) { return peer.v6 == v6 && peer.length == 8 * peer.bytes(); });
    if (!there) nft::add_set(messages_, set);
    nft::add_keys(messages_, set, addresses);
    if (there) return;
    if (match_.peer != Side::destination) Rule{messages_, chain}.payload(NFT_PAYLOAD_NETWORK_HEADER, v6 ? 8 : 12, set.key_bytes).among(set.name).go(then);
    if (match_.peer != Side::source) Rule{messages_, chain}.payload(NFT_PAYLOAD_NETWORK_HEADER, v6 ? 24 : 16, set.key_bytes).among(set.name).go(then);
  }

  // Once the address fits: the protocol.
  std::string protocol(bool v6, const std::string& then) {
    const auto wanted = protocols_of(match_, v6);
    if (wanted.empty()) return then;
    const auto chain = add(protocol_name(v6));
    for (auto one : wanted) Rule{messages_, chain}.meta(NFT_META_L4PROTO).is8(one).go(then);
    return chain.name;
  }

  std::string family(bool v6, std::string then) {
    if (!peers_.empty() && !has(v6, peers_)) return "";
    then = protocol(v6, then);
    const auto chain = add(family_name(v6));
    if (v6) {
      const std::uint8_t first = first_neighbour_type, last = last_neighbour_type;
      Rule{messages_, chain}
          .meta(NFT_META_L4PROTO).is8(IPPROTO_ICMPV6)
          .payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1).compare(NFT_CMP_GTE, {&first, 1}).compare(NFT_CMP_LTE, {&last, 1})
          .leave();
    }
    for (auto port : match_.exempt)
      for (std::uint32_t offset : {0U, 2U})
        Rule{messages_, chain}.meta(NFT_META_L4PROTO).is8(IPPROTO_TCP).payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2).is16(port).leave();
    for (auto& peer : match_.exempt_peers)
      if (peer.v6 == v6)
        for (const std::uint32_t offset : {v6 ? 8U : 12U, v6 ? 24U : 16U})
          Rule{messages_, chain}.payload(NFT_PAYLOAD_NETWORK_HEADER, offset, static_cast<std::uint32_t>(peer.bytes())).is({peer.address.data(), peer.bytes()}).leave();
    if (peers_.empty())
      Rule{messages_, chain}.go(then);
    else
      peers(v6, chain, then);
    return chain.name;
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

void enter(netlink::Messages& messages, const DetourRules& rules, const Chain& base, const HoldPoint& point, const std::string& start) {
  const auto device = point.at == HoldPoint::At::sent ? NFT_META_OIF : NFT_META_IIF;
  auto enter_where = [&](const std::function<void(Rule&)>& whose) {
    Rule rule{messages, base};
    if (!at_device(point) && point.interface) rule.meta(device).is32(point.interface);
    if (point.not_loopback) rule.meta(device).is_not32(loopback);
    if (const auto bit = point.marked ? sender_bit(rules.senders) : 0) rule.meta(NFT_META_MARK).bits(bit, 0).is32(bit);
    whose(rule);
    rule.jump(start);
  };
  if (point.cgroups.empty()) enter_where([](Rule&) {});
  const bool delivered = point.at == HoldPoint::At::delivered;
  for (auto& cgroup : point.cgroups)
    if (!delivered || !cgroup.class_id) enter_where([&](Rule& rule) { of(rule, cgroup); });
  if (delivered && conversations::needed(point.cgroups))
    for (auto& known : conversations::known(point.listeners)) enter_where(known);
}

// Where the rules of the point begin.
std::string rules_of_point(netlink::Messages& messages, const DetourRules& rules, std::size_t number) {
  const auto first = first_like(rules, number);
  if (first == number) PointRules{messages, rules, rules.points[number], number};
  return point_name(first);
}

void arriving_rules(netlink::Messages& messages, const DetourRules& rules, HoldPoint::At at) {
  const bool any = std::any_of(rules.points.begin(), rules.points.end(), [&](auto& point) { return point.at == at; });
  if (!any) return;
  const bool early = at == HoldPoint::At::arriving;
  const Chain base{Family::inet, rules.table, early ? "arriving" : "delivered"};
  nft::add_base_chain(messages, base, {early ? NF_INET_PRE_ROUTING : NF_INET_LOCAL_IN, behind_ours(early ? before_raw : last_in_input), ""});
  pass_detoured(messages, rules, base);
  for (std::size_t i = 0; i < rules.points.size(); ++i) {
    if (rules.points[i].at != at) continue;
    enter(messages, rules, base, rules.points[i], rules_of_point(messages, rules, i));
  }
}

// At the hooks of devices.
void device_rules(netlink::Messages& messages, const DetourRules& rules) {
  for (std::size_t i = 0; i < rules.points.size(); ++i) {
    auto& point = rules.points[i];
    if (!at_device(point)) continue;
    const bool leaving = point.at == HoldPoint::At::leaving;
    const Chain base{Family::netdev, rules.table, (leaving ? "leaving-" : "entering-") + point.device};
    nft::add_base_chain(messages, base, {leaving ? NF_NETDEV_EGRESS : NF_NETDEV_INGRESS, rules.fate == DetourRules::Fate::detour ? static_cast<std::int32_t>(number_of(rules)) : before_detours, point.device});
    pass_detoured(messages, rules, base);
    enter(messages, rules, base, point, rules_of_point(messages, rules, i));
  }
}

// What is sent and refused: of our own processes, and of others for whom we forward.
void sent_rules(netlink::Messages& messages, const DetourRules& rules) {
  std::vector<std::pair<const HoldPoint*, std::string>> starts;
  for (std::size_t i = 0; i < rules.points.size(); ++i)
    if (rules.points[i].at == HoldPoint::At::sent) starts.emplace_back(&rules.points[i], rules_of_point(messages, rules, i));
  if (starts.empty()) return;
  for (auto [hook, name, priority] : {std::tuple{NF_INET_LOCAL_OUT, "sent", last_in_output}, std::tuple{NF_INET_FORWARD, "forwarded", last_in_forward}}) {
    const Chain base{Family::inet, rules.table, name};
    nft::add_base_chain(messages, base, {static_cast<std::uint32_t>(hook), priority, ""});
    for (auto& [point, start] : starts)
      // A forwarded packet is of no socket.
      if (hook == NF_INET_LOCAL_OUT || point->cgroups.empty()) enter(messages, rules, base, *point, start);
  }
}

void refusal_rules(netlink::Messages& messages, const Chain& hold, DetourRules::Answer answer) {
  // What a refusal says must arrive, and it may come this way.
  for (auto [protocol, offset, mask, value] : {std::array<std::uint8_t, 4>{IPPROTO_TCP, 13, 0x04, 0x04}, {IPPROTO_ICMP, 0, 0xff, 3}, {IPPROTO_ICMPV6, 0, 0xff, 1}})
    Rule{messages, hold}.meta(NFT_META_L4PROTO).is8(protocol).payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 1).mask({&mask, 1}).is8(value).accept();
  { Rule{messages, hold}.count(); }
  using Answer = DetourRules::Answer;
  if (answer != Answer::icmp) Rule{messages, hold}.meta(NFT_META_L4PROTO).is8(IPPROTO_TCP).reject(true);
  answer == Answer::rst ? Rule{messages, hold}.drop() : Rule{messages, hold}.reject(false);
}

// What becomes of the packets in the end.
// Empty, but while packets are to pass a queue by.
Chain pass_chain(const DetourRules& rules) { return {Family::inet, rules.table, "pass"}; }

void hold_rules(netlink::Messages& messages, const DetourRules& rules) {
  std::set<std::pair<Family, std::string>> known;
  for (auto& point : rules.points) {
    const auto hold = hold_chain(rules, point);
    if (!known.emplace(hold.family, hold.name).second) continue;
    nft::add_chain(messages, hold);
    using Fate = DetourRules::Fate;
    if (point.watched)
      Rule{messages, hold}.count();
    else if (rules.fate == Fate::drop)
      Rule{messages, hold}.count().drop();
    else if (rules.fate == Fate::reject)
      refusal_rules(messages, hold, rules.answer);
    else if (at_device(point))
      Rule{messages, hold}.forward(point.tap);
    else {
      nft::add_chain(messages, pass_chain(rules));
      Rule{messages, hold}.jump(pass_chain(rules).name);
      Rule{messages, hold}.count().queue(rules.queue, rules.compat_queue);
    }
  }
}

void sender_rules(netlink::Messages& messages, const DetourRules& rules) {
  if (rules.senders.empty()) return;
  const Chain base{Family::inet, rules.table, "sending"};
  nft::add_base_chain(messages, base, {NF_INET_LOCAL_OUT, last_in_output, ""});
  const auto bit = sender_bit(rules.senders);
  for (auto& cgroup : rules.senders) {
    Rule rule{messages, base};
    if (rules.sender_interface) rule.meta(NFT_META_OIF).is32(rules.sender_interface);
    of(rule, cgroup).meta(NFT_META_MARK).bits(~bit, bit).set_mark();
  }
}

}  // namespace

std::uint32_t detoured_mark(const DetourRules& rules) {
  const bool marked = std::any_of(rules.points.begin(), rules.points.end(), [](auto& point) { return point.marked; });
  return ours | number_of(rules) | (marked ? sender_bit(rules.senders) : 0);
}

std::uint32_t sender_bit(const std::vector<SocketCgroup>& senders) {
  static std::mutex mutex;
  static std::vector<std::vector<SocketCgroup>> known;  // the bit follows from the place
  const std::lock_guard lock{mutex};
  const auto found = std::find(known.begin(), known.end(), senders);
  const auto place = static_cast<std::uint32_t>(found - known.begin());
  if (found == known.end()) known.push_back(senders);
  // Another injector on this host begins elsewhere.
  return 1U << (first_sender_bit + (place + static_cast<std::uint32_t>(::getpid())) % sender_bits);
}

bool uses_queue(const DetourRules& rules) {
  return std::any_of(rules.points.begin(), rules.points.end(), [](auto& point) { return !at_device(point); });
}
bool uses_devices(const DetourRules& rules) { return std::any_of(rules.points.begin(), rules.points.end(), at_device); }

namespace {
void for_each_family(const DetourRules& rules, void (*act)(netlink::Messages&, Family, std::string_view), netlink::Messages& messages) {
  if (uses_devices(rules)) act(messages, Family::netdev, rules.table);
  if (uses_queue(rules) || !rules.senders.empty()) act(messages, Family::inet, rules.table);
}

netlink::Messages batch_of(const DetourRules& rules, void (*act)(netlink::Messages&, Family, std::string_view)) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  for_each_family(rules, act, messages);
  nft::end_batch(messages);
  return messages;
}
}  // namespace

namespace {
std::vector<netlink::Socket> register_hooks_of_nobody() {
  std::vector<netlink::Socket> owners;
  std::thread{[&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    for (auto family : {Family::inet, Family::netdev}) try {
        netlink::Socket owner{NETLINK_NETFILTER};
        netlink::Messages messages;
        nft::begin_batch(messages);
        nft::add_table(messages, family, "squall");
        if (family == Family::netdev)
          nft::add_base_chain(messages, {family, "squall", "egress"}, {NF_NETDEV_EGRESS, 0, "lo"});
        else
          for (auto hook : {NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT})
            nft::add_base_chain(messages, {family, "squall", fmt::format("hook{}", static_cast<int>(hook))}, {hook, 0, ""});
        nft::end_batch(messages);
        if (owner.exchange(messages)) owners.push_back(std::move(owner));
      } catch (const std::exception&) {
      }
  }}.join();
  return owners;
}
}  // namespace

void keep_hooks_switched_on() {
  // Never destroyed: the end of the process closes them quicker than we could.
  static const auto* const owners = new std::vector<netlink::Socket>{register_hooks_of_nobody()};
  (void)owners;
}

netlink::Messages add_detour_rules(const DetourRules& rules) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  for_each_family(rules, nft::add_table, messages);
  hold_rules(messages, rules);
  // All points mean the same processes.
  for (auto& point : rules.points)
    if (point.at == HoldPoint::At::delivered && conversations::needed(point.cgroups)) {
      conversations::add(messages, rules.table, point.cgroups);
      break;
    }
  arriving_rules(messages, rules, HoldPoint::At::arriving);
  arriving_rules(messages, rules, HoldPoint::At::delivered);
  device_rules(messages, rules);
  sent_rules(messages, rules);
  sender_rules(messages, rules);
  nft::end_batch(messages);
  return messages;
}

netlink::Messages add_peers(const DetourRules& rules, std::span<const Prefix> more) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  for (std::size_t i = 0; i < rules.points.size(); ++i)
    if (first_like(rules, i) == i) PointRules{messages, rules, rules.points[i], i, more};
  nft::end_batch(messages);
  return messages;
}

netlink::Messages delete_detour_rules(const DetourRules& rules) { return batch_of(rules, nft::delete_rules); }
netlink::Messages delete_detour_tables(const DetourRules& rules) { return batch_of(rules, nft::delete_table); }

netlink::Messages pass_queue_by(const DetourRules& rules, bool on) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  if (on)
    Rule{messages, pass_chain(rules)}.accept();
  else
    nft::delete_rules(messages, pass_chain(rules));
  nft::end_batch(messages);
  return messages;
}

MatchedPackets matched(const DetourRules& rules) {
  MatchedPackets out;
  std::set<std::pair<Family, std::string>> known;
  for (auto& point : rules.points) {
    const auto hold = hold_chain(rules, point);
    if (!known.emplace(hold.family, hold.name).second) continue;
    (hold.name == "watched" ? out.watched : hold.name == "hold-out" ? out.leaving : hold.name == "hold-in" ? out.arriving : out.within_lo) += nft::counted(hold);
  }
  return out;
}

std::uint64_t matched_by_queue(const DetourRules& rules) {
  return uses_queue(rules) ? nft::counted({Family::inet, rules.table, "hold"}) : 0;
}

}  // namespace squall
