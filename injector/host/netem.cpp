#include "injector/host/netem.hpp"

#include <net/if.h>

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/netlink_dump.hpp"
#include "injector/host/network_namespace.hpp"

namespace squall::traffic_control {

namespace {

constexpr std::uint32_t handle = 1 << 16;

std::int64_t scaled(std::int64_t ns, double level) { return static_cast<std::int64_t>(static_cast<double>(ns) * level); }

// The 32 bits of ticks (64 ns) that were all there was before Linux 4.15.
std::uint32_t ticks(std::int64_t ns) { return static_cast<std::uint32_t>(std::min<std::int64_t>(ns / 64, UINT32_MAX)); }

template <class T>
std::optional<T> value_of(const nlattr* attribute) {
  const auto bytes = netlink::payload(attribute);
  T out;
  if (bytes.size() < sizeof out) return {};
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

// Attributes behind a structure within TCA_OPTIONS.
const nlattr* find_behind(std::span<const std::byte> bytes, std::size_t structure, std::uint16_t type) {
  const nlattr* found = nullptr;
  if (bytes.size() > structure)
    netlink::each_attribute(bytes.subspan(structure), [&](const nlattr* attribute) {
      if ((attribute->nla_type & NLA_TYPE_MASK) == type) found = attribute;
    });
  return found;
}

Netem parse(const nlmsghdr* message) {
  Netem out;
  const auto* options = netlink::find(message, sizeof(tcmsg), TCA_OPTIONS);
  const auto bytes = netlink::payload(options);
  if (const auto plain = value_of<tc_netem_qopt>(options)) {
    out.delay_ns = std::int64_t{plain->latency} * 64;
    out.jitter_ns = std::int64_t{plain->jitter} * 64;
    out.limit = plain->limit;
  }
  if (const auto wide = value_of<std::int64_t>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_LATENCY64))) out.delay_ns = *wide;
  if (const auto wide = value_of<std::int64_t>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_JITTER64))) out.jitter_ns = *wide;
  if (const auto* statistics = netlink::find(message, sizeof(tcmsg), TCA_STATS2)) {
    if (const auto queue = value_of<gnet_stats_queue>(netlink::find(statistics, TCA_STATS_QUEUE))) out.waiting = queue->qlen, out.dropped = queue->drops;
    if (const auto basic = value_of<gnet_stats_basic>(netlink::find(statistics, TCA_STATS_BASIC))) out.packets = basic->packets;
    if (const auto wide = value_of<std::uint64_t>(netlink::find(statistics, TCA_STATS_PKT64))) out.packets = *wide;
  }
  return out;
}

}  // namespace

netlink::Messages netem_message(std::uint32_t interface, const DelayShape& shape, double level, std::uint32_t limit, bool change) {
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_ROOT;
  header.tcm_handle = handle;
  messages.begin(RTM_NEWQDISC, static_cast<std::uint16_t>(NLM_F_ACK | (change ? 0 : NLM_F_CREATE | NLM_F_EXCL)), header);
  messages.text(TCA_KIND, "netem");
  auto options = messages.nest(TCA_OPTIONS);
  const auto delay = scaled(shape.delay_ns, level), jitter = scaled(shape.jitter_ns, level);
  const tc_netem_qopt plain{.latency = ticks(delay), .limit = limit, .loss = 0, .gap = 0, .duplicate = 0, .jitter = ticks(jitter)};
  messages.raw(&plain, sizeof plain);
  messages.u64(TCA_NETEM_LATENCY64, static_cast<std::uint64_t>(delay));
  messages.u64(TCA_NETEM_JITTER64, static_cast<std::uint64_t>(jitter));
  if (shape.jitter_ns == 0) return messages;
  auto& table = quantiles(shape.distribution);
  messages.bytes(TCA_NETEM_DELAY_DIST, table.data(), table.size() * sizeof table[0]);
  const tc_netem_corr correlation{.delay_corr = static_cast<std::uint32_t>(shape.correlation * UINT32_MAX), .loss_corr = 0, .dup_corr = 0};
  messages.bytes(TCA_NETEM_CORR, &correlation, sizeof correlation);
  return messages;
}

std::optional<Netem> read_netem(std::uint32_t interface) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_ROOT;
  messages.begin(RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO, header);  // without the echo, kernels before 6.8 tell their listeners only
  std::optional<Netem> out;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type == RTM_NEWQDISC && netlink::text(netlink::find(message, sizeof(tcmsg), TCA_KIND)) == "netem") out = parse(message);
  });
  return out;
}

void set_netem(const std::string& device, const DelayShape& shape, double level, std::uint32_t limit, bool change) {
  netlink::Socket route{NETLINK_ROUTE};
  const auto interface = ::if_nametoindex(device.c_str());
  auto messages = netem_message(interface, shape, level, limit, change);
  netlink::must(route, messages);
  const auto read = read_netem(interface);
  const auto delay = scaled(shape.delay_ns, level), jitter = scaled(shape.jitter_ns, level);
  if (!read || std::abs(read->delay_ns - delay) > 64 || std::abs(read->jitter_ns - jitter) > 64)
    throw std::runtime_error(fmt::format("asked for {} ns and a jitter of {} ns, the kernel says {} ns and {} ns", delay, jitter, read ? read->delay_ns : -1,
                                         read ? read->jitter_ns : -1));
}

void add_netem(Transaction& transaction, const Place& place, const std::string& device, const DelayShape& shape, std::uint32_t limit, std::shared_ptr<double> level) {
  Change change;
  change.what = fmt::format("add netem to {}: a delay of {} ms{}, at most {} packets", device, static_cast<double>(shape.delay_ns) / 1e6,
                            shape.jitter_ns ? fmt::format(" and a jitter of {} ms", static_cast<double>(shape.jitter_ns) / 1e6) : "", limit);
  change.undo_note = "goes with the device";
  change.act = [=] {
    in_network_namespace(place.network_namespace, place.namespace_pid, [&] { set_netem(device, shape, *level, limit, false); });
  };
  transaction.add(std::move(change));
}

}  // namespace squall::traffic_control
