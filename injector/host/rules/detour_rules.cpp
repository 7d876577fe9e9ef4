#include "injector/host/rules/detour_rules.hpp"

#include <algorithm>
#include <mutex>
#include <set>
#include <span>

#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <fmt/format.h>

#include "injector/host/rules/netfilter_hooks.hpp"
#include "injector/host/rules/point_rules.hpp"
#include "injector/host/rules/remembered_ends.hpp"

namespace squall {

namespace {

using nft::Chain;
using nft::Family;
using nft::Rule;

constexpr std::uint32_t loopback = 1;  // LOOPBACK_IFINDEX in include/net/flow.h
constexpr std::int32_t before_raw = -390, last_in_output = 300, last_in_forward = 200;
constexpr std::int32_t before_detours = -1;  // whose place is their number
// The mark: eight bits for senders, eight that tell ours from others', bits 14 and 15 left alone, a number.
constexpr std::uint32_t first_sender_bit = 24, sender_bits = 8, ours = 0x00710000, of_ours = 0x00ffffff,
                        highest_number = 0x3fff;

// Those that know a packet by its sender come first: the mark that tells it is gone behind a detour.
std::uint32_t number_of(const DetourRules& rules) {
  constexpr std::uint32_t half = (highest_number + 1) / 2;
  std::uint32_t number = 0;
  for (const unsigned char letter : rules.table)
    number = (number * 257 + letter) % (half - 1);
  return number + 1 + (rules.senders.empty() ? half - 1 : 0);
}

// Detours that have seen a packet, or had their turn, let it pass.
void pass_detoured(netlink::Messages& messages, const DetourRules& rules, const Chain& chain) {
  // What is dropped or refused comes this way once, and it is dropped too where it comes from a detour.
  if (rules.fate != DetourRules::Fate::detour) return;
  Rule{messages, chain}
      .meta(NFT_META_MARK)
      .bits(of_ours, 0)
      .within32(ours | number_of(rules), ours | highest_number)
      .accept();
}

void enter(netlink::Messages& messages, const DetourRules& rules, const Chain& base, const HoldPoint& point,
           const std::string& start) {
  const auto device = point.at == HoldPoint::At::sent ? NFT_META_OIF : NFT_META_IIF;
  auto enter_where = [&](const std::function<void(Rule&)>& whose) {
    Rule rule{messages, base};
    if (!at_device(point) && point.interface) rule.meta(device).is32(point.interface);
    if (point.not_loopback) rule.meta(device).is_not32(loopback);
    if (const auto bit = point.marked ? sender_bit(rules.senders) : 0)
      rule.meta(NFT_META_MARK).bits(bit, 0).is32(bit);
    whose(rule);
    rule.jump(start);
  };
  if (point.cgroups.empty()) enter_where([](Rule&) {});
  const bool delivered = point.at == HoldPoint::At::delivered;
  for (auto& cgroup : point.cgroups)
    if (!delivered || !cgroup.class_id) enter_where([&](Rule& rule) { of(rule, cgroup); });
  if (delivered && conversations::needed(point.cgroups))
    for (auto& known : conversations::known(point.listeners))
      enter_where(known);
}

void arriving_rules(netlink::Messages& messages, const DetourRules& rules, HoldPoint::At at) {
  const bool any =
      std::any_of(rules.points.begin(), rules.points.end(), [&](auto& point) { return point.at == at; });
  if (!any) return;
  const bool early = at == HoldPoint::At::arriving;
  const Chain base{Family::inet, rules.table, early ? "arriving" : "delivered"};
  nft::add_base_chain(
      messages, base,
      {early ? NF_INET_PRE_ROUTING : NF_INET_LOCAL_IN, behind_ours(early ? before_raw : last_in_input), ""});
  pass_detoured(messages, rules, base);
  for (std::size_t i = 0; i < rules.points.size(); ++i) {
    if (rules.points[i].at != at) continue;
    enter(messages, rules, base, rules.points[i], add_point_rules(messages, rules, i));
  }
}

// At the hooks of devices.
void device_rules(netlink::Messages& messages, const DetourRules& rules) {
  for (std::size_t i = 0; i < rules.points.size(); ++i) {
    auto& point = rules.points[i];
    if (!at_device(point)) continue;
    const bool leaving = point.at == HoldPoint::At::leaving;
    const Chain base{Family::netdev, rules.table, (leaving ? "leaving-" : "entering-") + point.device};
    nft::add_base_chain(messages, base,
                        {leaving ? NF_NETDEV_EGRESS : NF_NETDEV_INGRESS,
                         rules.fate == DetourRules::Fate::detour ? static_cast<std::int32_t>(number_of(rules))
                                                                 : before_detours,
                         point.device});
    pass_detoured(messages, rules, base);
    enter(messages, rules, base, point, add_point_rules(messages, rules, i));
  }
}

// What is sent and refused: of our own processes, and of others for whom we forward.
void sent_rules(netlink::Messages& messages, const DetourRules& rules) {
  std::vector<std::pair<const HoldPoint*, std::string>> starts;
  for (std::size_t i = 0; i < rules.points.size(); ++i)
    if (rules.points[i].at == HoldPoint::At::sent)
      starts.emplace_back(&rules.points[i], add_point_rules(messages, rules, i));
  if (starts.empty()) return;
  for (auto [hook, name, priority] : {std::tuple{NF_INET_LOCAL_OUT, "sent", last_in_output},
                                      std::tuple{NF_INET_FORWARD, "forwarded", last_in_forward}}) {
    const Chain base{Family::inet, rules.table, name};
    nft::add_base_chain(messages, base, {static_cast<std::uint32_t>(hook), priority, ""});
    for (auto& [point, start] : starts)
      // A forwarded packet is of no socket.
      if (hook == NF_INET_LOCAL_OUT || point->cgroups.empty()) enter(messages, rules, base, *point, start);
  }
}

void refusal_rules(netlink::Messages& messages, const Chain& hold, DetourRules::Answer answer) {
  // What a refusal says must arrive, and it may come this way.
  for (auto [protocol, offset, mask, value] : {std::array<std::uint8_t, 4>{IPPROTO_TCP, 13, 0x04, 0x04},
                                               {IPPROTO_ICMP, 0, 0xff, 3},
                                               {IPPROTO_ICMPV6, 0, 0xff, 1}})
    Rule{messages, hold}
        .meta(NFT_META_L4PROTO)
        .is8(protocol)
        .payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 1)
        .mask({&mask, 1})
        .is8(value)
        .accept();
  {
    Rule{messages, hold}.count();
  }
  using Answer = DetourRules::Answer;
  if (answer != Answer::icmp) Rule{messages, hold}.meta(NFT_META_L4PROTO).is8(IPPROTO_TCP).reject(true);
  answer == Answer::rst ? Rule{messages, hold}.drop() : Rule{messages, hold}.reject(false);
}

// Empty, but while packets are to pass a queue by.
Chain pass_chain(const DetourRules& rules) {
  return {Family::inet, rules.table, "pass"};
}

// What becomes of the packets in the end.
void hold_rules(netlink::Messages& messages, const DetourRules& rules) {
  std::set<std::pair<Family, std::string>> known;
  for (auto& point : rules.points) {
    const auto hold = hold_chain(rules, point);
    if (!known.emplace(hold.family, hold.name).second) continue;
    nft::add_chain(messages, hold);
    if (rules.remembers_ends && !point.watched) remembered_ends::add_rules(messages, hold);
    using Fate = DetourRules::Fate;
    if (point.watched)
      Rule{messages, hold}.count();
    else if (rules.fate == Fate::drop)
      Rule{messages, hold}.count().drop();
    else if (rules.fate == Fate::reject)
      refusal_rules(messages, hold, rules.answer);
    else if (at_device(point))
      Rule{messages, hold}.count().forward(point.tap);
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
  const bool marked =
      std::any_of(rules.points.begin(), rules.points.end(), [](auto& point) { return point.marked; });
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
bool leads_pieces(const DetourRules& rules) {
  return std::any_of(rules.points.begin(), rules.points.end(),
                     [](auto& point) { return !point.match.ports.empty(); });
}
bool uses_devices(const DetourRules& rules) {
  return std::any_of(rules.points.begin(), rules.points.end(), at_device);
}

namespace {
void for_each_family(const DetourRules& rules, void (*act)(netlink::Messages&, Family, std::string_view),
                     netlink::Messages& messages) {
  if (uses_devices(rules)) act(messages, Family::netdev, rules.table);
  if (uses_queue(rules) || !rules.senders.empty()) act(messages, Family::inet, rules.table);
}

netlink::Messages batch_of(const DetourRules& rules,
                           void (*act)(netlink::Messages&, Family, std::string_view)) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  for_each_family(rules, act, messages);
  nft::end_batch(messages);
  return messages;
}
}  // namespace

netlink::Messages add_detour_rules(const DetourRules& rules) {
  netlink::Messages messages;
  nft::begin_batch(messages);
  for_each_family(rules, nft::add_table, messages);
  if (rules.remembers_ends)
    for_each_family(
        rules,
        [](auto& into, Family family, std::string_view table) {
          remembered_ends::add_sets(into, family, std::string(table));
        },
        messages);
  if (leads_pieces(rules)) for_each_family(rules, add_piece_sets, messages);
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
    add_point_peers(messages, rules, i, more);
  nft::end_batch(messages);
  return messages;
}

netlink::Messages delete_detour_rules(const DetourRules& rules) {
  return batch_of(rules, nft::delete_rules);
}
netlink::Messages delete_detour_tables(const DetourRules& rules) {
  return batch_of(rules, nft::delete_table);
}

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
    (hold.name == "watched"    ? out.watched
     : hold.name == "hold-out" ? out.leaving
     : hold.name == "hold-in"  ? out.arriving
                               : out.within_lo) += nft::counted(hold);
  }
  return out;
}

void read_ends(const DetourRules& rules, EndpointSet& into) {
  if (uses_devices(rules)) remembered_ends::read(Family::netdev, rules.table, into);
  if (uses_queue(rules)) remembered_ends::read(Family::inet, rules.table, into);
}

std::string lost_chains(const std::string& table, std::span<const Chain> chains) {
  std::set<Family> families;
  for (auto& chain : chains)
    if (families.insert(chain.family).second && !nft::table_exists(chain.family, table))
      return fmt::format("our nftables table {} {}", nft::name_of(chain.family), table);
  std::set<std::string> known;
  for (auto& chain : chains)
    if (known.insert(fmt::format("{} {}", nft::name_of(chain.family), chain.name)).second &&
        !nft::chain_exists(chain))
      return fmt::format("the chain {} of our nftables table {} {}", chain.name, nft::name_of(chain.family),
                         table);
  return "";
}

std::string lost_rules(const DetourRules& rules) {
  using At = HoldPoint::At;
  std::vector<Chain> chains;
  for (auto& point : rules.points) {
    if (at_device(point) && !::if_nametoindex(point.device.c_str())) continue;
    const std::string name = point.at == At::arriving    ? "arriving"
                             : point.at == At::delivered ? "delivered"
                             : point.at == At::sent
                                 ? "sent"
                                 : (point.at == At::leaving ? "leaving-" : "entering-") + point.device;
    chains.push_back({at_device(point) ? Family::netdev : Family::inet, rules.table, name});
    chains.push_back(hold_chain(rules, point));
  }
  if (!rules.senders.empty()) chains.push_back({Family::inet, rules.table, "sending"});
  return lost_chains(rules.table, chains);
}

bool take_what_leaves(const DetourRules& rules, const std::string& device) {
  const bool known = std::any_of(rules.points.begin(), rules.points.end(), [&](auto& point) {
    return point.at == HoldPoint::At::leaving && point.device == device;
  });
  // Before Linux 6.16 a chain went with its device.
  return known && nft::chain_exists({Family::netdev, rules.table, "leaving-" + device});
}

std::uint64_t led_to_taps(const DetourRules& rules) {
  std::uint64_t out = 0;
  for (auto& point : rules.points)
    if (point.at == HoldPoint::At::leaving) out += nft::counted(hold_chain(rules, point));
  return out;
}

std::uint64_t matched_by_queue(const DetourRules& rules) {
  return uses_queue(rules) ? nft::counted({Family::inet, rules.table, "hold"}) : 0;
}

}  // namespace squall
