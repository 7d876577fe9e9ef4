// The inverses of traffic_control.hpp.
#include <cerrno>
#include <ctime>

#include <arpa/inet.h>
#include <net/if.h>

#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/tc/netem.hpp"
#include "injector/host/tc/traffic_control.hpp"

namespace squall::undo {
namespace {

namespace tc = traffic_control;

constexpr std::int64_t drain_ns = 450'000'000;

// The device of a record, whatever its name is now; nothing where it is gone or another of the same name came
// instead.
std::optional<links::Link> device_of(const boost::json::object& with) {
  links::Link as_it_was;
  as_it_was.index = static_cast<std::uint32_t>(number_of(with, "index"));
  return links::find_again(as_it_was);
}

Undone outcome(const netlink::Answer& answer, const std::string& attempt, const std::string& by_hand) {
  if (answer) return {};
  if (answer.error == ENOENT || answer.error == ENODEV) return {UndoOutcome::already, "", ""};
  return {UndoOutcome::failed, fmt::format("{}: {}", attempt, answer.text()), by_hand};
}

std::string describe_ifb(const boost::json::object& with) {
  return fmt::format("remove the device {}, once the packets it holds are through", text_of(with, "device"));
}

// Packets that netem holds cannot be hurried: its queue is let run empty. What it holds for longer than we
// may wait is lost with the device.
void drain(std::uint32_t interface) {
  const auto until = monotonic_ns() + drain_ns;
  for (int empty = 0; empty < 2 && monotonic_ns() < until;) {
    const auto netem = tc::read_netem(interface);
    // Behind netem the ifb has a queue of its own, told by the difference of what came and what went
    // (ifb_ri_tasklet in drivers/net/ifb.c).
    const auto passed = links::traffic(interface);
    const bool through = passed.received <= passed.sent + passed.receive_drops;
    empty = (!netem || netem->waiting == 0) && through ? empty + 1 : 0;
    const timespec moment{0, empty ? 100'000 : 1'000'000};
    ::nanosleep(&moment, nullptr);
  }
}

// By its alias, whatever its name is now; by its name where it has no alias yet: we died between making it
// and naming it.
std::optional<links::Link> our_ifb(const boost::json::object& with) {
  for (auto& link : links::all())
    if (link.kind == "ifb" && (link.alias == text_of(with, "alias") ||
                               (link.alias.empty() && link.name == text_of(with, "device"))))
      return link;
  return {};
}

// What goes in passes as it is.
void let_pass(std::uint32_t interface) {
  drain(interface);
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_ROOT;
  messages.begin(RTM_DELQDISC, NLM_F_ACK, header);
  route.exchange(messages);
}

Undone remove_ifb(const boost::json::object& with) {
  const auto link = our_ifb(with);
  if (!link) return {UndoOutcome::already, "", ""};
  // What is led to a device that is gone is lost.
  if (const auto where = tc::led_here(link->index); !where.empty()) {
    let_pass(link->index);
    return {
        UndoOutcome::failed,
        fmt::format("the device {} stays, and lets packets pass as they are: a filter leads some there, {}",
                    link->name, where),
        fmt::format("remove that filter first, then: ip link delete {}", link->name)};
  }
  drain(link->index);
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg info{};
  info.ifi_index = static_cast<int>(link->index);
  messages.begin(RTM_DELLINK, NLM_F_ACK, info);
  return outcome(route.exchange(messages), fmt::format("remove the device {}", link->name),
                 fmt::format("ip link delete {}", link->name));
}

std::string describe_clsact(const boost::json::object& with) {
  return fmt::format("remove clsact from {}, unless others use it by then", text_of(with, "device"));
}

Undone remove_clsact(const boost::json::object& with) {
  const auto link = device_of(with);
  if (!link || tc::anchor(link->index) != tc::Anchor::clsact) return {UndoOutcome::already, "", ""};
  for (auto hook : {tc::Hook::egress, tc::Hook::ingress})
    if (!tc::filters(link->index, hook).empty())
      return {UndoOutcome::conflict,
              fmt::format("clsact stays on {}: others have put filters there since", link->name),
              fmt::format("leave it: none of our filters is in it. To see whose are: tc filter show dev {0} "
                          "ingress; tc filter show dev {0} egress",
                          link->name)};
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(link->index);
  header.tcm_parent = TC_H_CLSACT;
  header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  messages.begin(RTM_DELQDISC, NLM_F_ACK, header);
  return outcome(route.exchange(messages), fmt::format("remove clsact from {}", link->name),
                 fmt::format("tc qdisc del dev {} clsact", link->name));
}

std::string describe_filter(const boost::json::object& with) {
  return fmt::format("remove the filter of priority {} from {} {}", number_of(with, "priority"),
                     text_of(with, "device"), text_of(with, "hook"));
}

// Ours among those of that hook; another one of its priority is somebody else's.
std::optional<tc::Filter> our_filter(const boost::json::object& with, std::uint32_t interface,
                                     tc::Hook hook) {
  for (auto& filter : tc::filters(interface, hook))
    if (filter.priority == number_of(with, "priority") && filter.kind == "bpf" &&
        filter.digest == text_of(with, "program"))
      return filter;
  return {};
}

Undone remove_filter(const boost::json::object& with) {
  const auto link = device_of(with);
  if (!link) return {UndoOutcome::already, "", ""};
  const auto hook = text_of(with, "hook") == "egress" ? tc::Hook::egress : tc::Hook::ingress;
  const auto filter = our_filter(with, link->index, hook);
  if (!filter) return {UndoOutcome::already, "", ""};
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(link->index);
  header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, hook == tc::Hook::egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
  header.tcm_handle = filter->handle;
  header.tcm_info = TC_H_MAKE(static_cast<std::uint32_t>(filter->priority) << 16,
                              static_cast<std::uint32_t>(htons(ETH_P_ALL)));
  messages.begin(RTM_DELTFILTER, NLM_F_ACK, header);
  messages.text(TCA_KIND, "bpf");
  return outcome(route.exchange(messages), describe_filter(with),
                 fmt::format("tc filter del dev {} {} protocol all prio {} handle {:#x} bpf", link->name,
                             text_of(with, "hook"), filter->priority, filter->handle));
}

Undone ifb(const boost::json::object& with) {
  return in_namespace_of(with, remove_ifb);
}
Undone clsact(const boost::json::object& with) {
  return in_namespace_of(with, remove_clsact);
}
Undone filter(const boost::json::object& with) {
  return in_namespace_of(with, remove_filter);
}

}  // namespace

const UndoVerb ifb_delete{"ifb.delete", describe_ifb, ifb, {"link", "qdisc"}};
const UndoVerb clsact_delete{"clsact.delete", describe_clsact, clsact, {"qdisc"}};
const UndoVerb filter_delete{"filter.delete", describe_filter, filter, {"filter"}};

}  // namespace squall::undo
