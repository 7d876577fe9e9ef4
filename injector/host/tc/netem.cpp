#include "injector/host/tc/netem.hpp"

#include <net/if.h>

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::traffic_control {

namespace {

constexpr std::uint32_t handle = 1 << 16, rate_handle = 2 << 16;
constexpr std::uint32_t rate_parent = handle | 1;  // netem's only class

std::int64_t scaled(std::int64_t ns, double level) {
  return static_cast<std::int64_t>(static_cast<double>(ns) * level);
}

// The 32 bits of ticks (64 ns) that were all there was before Linux 4.15.
std::uint32_t ticks(std::int64_t ns) {
  return static_cast<std::uint32_t>(std::min<std::int64_t>(ns / 64, UINT32_MAX));
}

// A share in the kernel's 32 bits.
std::uint32_t chance(double share) {
  return static_cast<std::uint32_t>(std::clamp(share, 0.0, 1.0) * UINT32_MAX);
}
double share(std::uint32_t chance) {
  return static_cast<double>(chance) / UINT32_MAX;
}

// Each packet for itself: netem has a plain figure for that.
bool independent(const LossShape& loss) {
  return !loss.markov && loss.when_bad >= 1 && loss.when_good <= 0 &&
         std::abs(loss.worsens + loss.recovers - 1) < 1e-12;
}

void add_loss_model(netlink::Messages& messages, const LossShape& loss, double level) {
  auto models = messages.nest(TCA_NETEM_LOSS);
  if (auto& m = loss.markov) {
    const tc_netem_gimodel model{chance(m->p13 * level), chance(m->p31), chance(m->p32),
                                 chance(m->p14 * level), chance(m->p23)};
    messages.bytes(NETEM_LOSS_GI, &model, sizeof model);
  } else {
    const tc_netem_gemodel model{chance(loss.worsens), chance(loss.recovers),
                                 chance(1 - loss.when_bad * level), chance(loss.when_good * level)};
    messages.bytes(NETEM_LOSS_GE, &model, sizeof model);
  }
}

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
    out.loss = share(plain->loss);
    out.duplicate = share(plain->duplicate);
  }
  if (const auto corrupt =
          value_of<tc_netem_corrupt>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_CORRUPT)))
    out.corrupt = share(corrupt->probability);
  if (const auto reorder =
          value_of<tc_netem_reorder>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_REORDER)))
    out.reorder = share(reorder->probability);
  out.loss_model = find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_LOSS) != nullptr;
  if (const auto wide =
          value_of<std::int64_t>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_LATENCY64)))
    out.delay_ns = *wide;
  if (const auto wide = value_of<std::int64_t>(find_behind(bytes, sizeof(tc_netem_qopt), TCA_NETEM_JITTER64)))
    out.jitter_ns = *wide;
  if (const auto* statistics = netlink::find(message, sizeof(tcmsg), TCA_STATS2)) {
    if (const auto queue = value_of<gnet_stats_queue>(netlink::find(statistics, TCA_STATS_QUEUE)))
      out.waiting = queue->qlen, out.dropped = queue->drops;
    if (const auto basic = value_of<gnet_stats_basic>(netlink::find(statistics, TCA_STATS_BASIC)))
      out.packets = basic->packets;
    if (const auto wide = value_of<std::uint64_t>(netlink::find(statistics, TCA_STATS_PKT64)))
      out.packets = *wide;
  }
  return out;
}

}  // namespace

netlink::Messages netem_message(std::uint32_t interface, const Impairment& what, double level,
                                std::uint32_t limit, bool change) {
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_ROOT;
  header.tcm_handle = handle;
  messages.begin(RTM_NEWQDISC,
                 static_cast<std::uint16_t>(NLM_F_ACK | (change ? 0 : NLM_F_CREATE | NLM_F_EXCL)), header);
  messages.text(TCA_KIND, "netem");
  auto options = messages.nest(TCA_OPTIONS);
  const auto delay = scaled(what.delay.delay_ns, level), jitter = scaled(what.delay.jitter_ns, level);
  const tc_netem_qopt plain{
      .latency = ticks(delay),
      .limit = limit,
      .loss = what.loss && independent(*what.loss) ? chance(what.loss->share() * level) : 0,
      .gap = what.reorder ? what.reorder->gap : 0,
      .duplicate = chance(what.duplicate * level),
      .jitter = ticks(jitter)};
  messages.raw(&plain, sizeof plain);
  messages.u64(TCA_NETEM_LATENCY64, static_cast<std::uint64_t>(delay));
  messages.u64(TCA_NETEM_JITTER64, static_cast<std::uint64_t>(jitter));
  if (what.loss && !independent(*what.loss)) add_loss_model(messages, *what.loss, level);
  if (what.corrupt > 0) {
    const tc_netem_corrupt corrupt{chance(what.corrupt * level), 0};
    messages.bytes(TCA_NETEM_CORRUPT, &corrupt, sizeof corrupt);
  }
  if (what.reorder) {
    const tc_netem_reorder reorder{chance(what.reorder->share * level), 0};
    messages.bytes(TCA_NETEM_REORDER, &reorder, sizeof reorder);
  }
  if (what.delay.jitter_ns == 0) return messages;
  const auto table = netem_table(what.delay);
  messages.bytes(TCA_NETEM_DELAY_DIST, table.data(), table.size() * sizeof table[0]);
  const tc_netem_corr correlation{
      .delay_corr = chance(what.delay.correlation), .loss_corr = 0, .dup_corr = 0};
  messages.bytes(TCA_NETEM_CORR, &correlation, sizeof correlation);
  return messages;
}

netlink::Messages rate_message(std::uint32_t interface, const RateShape& rate, double level, bool change) {
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = rate_parent;
  header.tcm_handle = rate_handle;
  messages.begin(RTM_NEWQDISC,
                 static_cast<std::uint16_t>(NLM_F_ACK | (change ? 0 : NLM_F_CREATE | NLM_F_EXCL)), header);
  messages.text(TCA_KIND, "tbf");
  auto options = messages.nest(TCA_OPTIONS);
  // At level 0 the path is as wide as it can be told.
  const auto wide = static_cast<std::uint64_t>(std::min(rate.bytes_per_second / std::max(level, 1e-9), 1e12));
  tc_tbf_qopt parameters{};
  parameters.rate.rate = static_cast<std::uint32_t>(std::min<std::uint64_t>(wide, UINT32_MAX));
  parameters.rate.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.limit =
      static_cast<std::uint32_t>(std::min<std::int64_t>(rate.queue_bytes + rate.bucket_bytes, UINT32_MAX));
  messages.bytes(TCA_TBF_PARMS, &parameters, sizeof parameters);
  messages.u32(TCA_TBF_BURST,
               static_cast<std::uint32_t>(std::min<std::int64_t>(rate.bucket_bytes, UINT32_MAX)));
  if (wide > UINT32_MAX) messages.u64(TCA_TBF_RATE64, wide);
  return messages;
}

namespace {

template <class T>
std::optional<T> read_qdisc(std::uint32_t interface, std::uint32_t parent, std::string_view kind,
                            T (*parse)(const nlmsghdr*)) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = parent;
  messages.begin(RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO,
                 header);  // without the echo, kernels before 6.8 tell their listeners only
  std::optional<T> out;
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type == RTM_NEWQDISC &&
        netlink::text(netlink::find(message, sizeof(tcmsg), TCA_KIND)) == kind)
      out = parse(message);
  });
  return out;
}

Tbf parse_tbf(const nlmsghdr* message) {
  Tbf out;
  netlink::each_attribute(
      netlink::payload(netlink::find(message, sizeof(tcmsg), TCA_OPTIONS)), [&](const nlattr* attribute) {
        const auto type = attribute->nla_type & NLA_TYPE_MASK;
        if (const auto plain = value_of<tc_tbf_qopt>(attribute);
            plain && type == TCA_TBF_PARMS && !out.bytes_per_second)
          out.bytes_per_second = plain->rate.rate;
        if (const auto wide = value_of<std::uint64_t>(attribute); wide && type == TCA_TBF_RATE64)
          out.bytes_per_second = *wide;
      });
  if (const auto* statistics = netlink::find(message, sizeof(tcmsg), TCA_STATS2)) {
    if (const auto queue = value_of<gnet_stats_queue>(netlink::find(statistics, TCA_STATS_QUEUE)))
      out.waiting = queue->qlen, out.dropped = queue->drops, out.held_back = queue->overlimits;
    if (const auto basic = value_of<gnet_stats_basic>(netlink::find(statistics, TCA_STATS_BASIC)))
      out.packets = basic->packets, out.bytes = basic->bytes;
  }
  return out;
}

bool near(double read, double asked) {
  return std::abs(read - asked) < 1e-6;
}

}  // namespace

std::optional<Netem> read_netem(std::uint32_t interface) {
  return read_qdisc(interface, TC_H_ROOT, "netem", parse);
}
std::optional<Tbf> read_tbf(std::uint32_t interface) {
  return read_qdisc(interface, rate_parent, "tbf", parse_tbf);
}

std::string unlike(const Netem& read, const Impairment& what, double level) {
  const auto delay = scaled(what.delay.delay_ns, level), jitter = scaled(what.delay.jitter_ns, level);
  if (std::abs(read.delay_ns - delay) > 64 || std::abs(read.jitter_ns - jitter) > 64)
    return fmt::format("asked for {} ns and a jitter of {} ns, the kernel says {} ns and {} ns", delay,
                       jitter, read.delay_ns, read.jitter_ns);
  const bool modelled = what.loss && !independent(*what.loss);
  const double loss = what.loss && !modelled ? what.loss->share() * level : 0;
  const bool as_asked = near(read.loss, loss) && (!modelled || read.loss_model) &&
                        near(read.duplicate, what.duplicate * level) &&
                        near(read.corrupt, what.corrupt * level) &&
                        near(read.reorder, what.reorder ? what.reorder->share * level : 0);
  return as_asked ? "" : "the kernel understood other chances than were asked for";
}

void set_netem(const std::string& device, const Impairment& what, double level, std::uint32_t limit,
               bool change) {
  netlink::Socket route{NETLINK_ROUTE};
  const auto interface = ::if_nametoindex(device.c_str());
  auto messages = netem_message(interface, what, level, limit, change);
  netlink::must(route, messages);
  const auto read = read_netem(interface);
  if (!read) throw std::runtime_error("the kernel does not say what it understood");
  if (const auto wrong = unlike(*read, what, level); !wrong.empty()) throw std::runtime_error(wrong);
  if (!what.rate) return;
  auto limited = rate_message(interface, *what.rate, level, change);
  netlink::must(route, limited);
  const auto rate = read_tbf(interface);
  if (!rate) throw std::runtime_error("the kernel does not say what rate it understood");
  if (level >= 1 && std::abs(static_cast<double>(rate->bytes_per_second) - what.rate->bytes_per_second) >
                        1 + 0.001 * what.rate->bytes_per_second)
    throw std::runtime_error(fmt::format("asked for {:.0f} bytes a second, the kernel says {}",
                                         what.rate->bytes_per_second, rate->bytes_per_second));
}

void add_netem(Transaction& transaction, const Place& place, const std::string& device,
               const Impairment& what, std::uint32_t limit, std::shared_ptr<double> level) {
  Change change;
  change.what = fmt::format("add netem{} to {}: {}, at most {} packets", what.rate ? " and tbf" : "", device,
                            to_string(what), limit);
  change.undo_note = "goes with the device";
  change.act = [=] {
    in_network_namespace(place.network_namespace, place.namespace_pid,
                         [&] { set_netem(device, what, *level, limit, false); });
  };
  transaction.add(std::move(change));
}

}  // namespace squall::traffic_control
