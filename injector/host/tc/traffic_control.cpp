#include "injector/host/tc/traffic_control.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <arpa/inet.h>
#include <net/if.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include <fmt/format.h>
#include <boost/crc.hpp>

#include "injector/host/netlink/links.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/system/descriptor_limit.hpp"
#include "injector/system/network_namespace.hpp"
#include "injector/system/read_file.hpp"

namespace squall::traffic_control {

namespace {

constexpr std::uint16_t first_priority = 40'000;  // tc(8) itself counts down from 49152
constexpr std::uint32_t filter_handle = 1, ifb_queue = 1000;

std::uint32_t parent_of(Hook hook) {
  return TC_H_MAKE(TC_H_CLSACT, hook == Hook::egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
}

tcmsg filter_header(std::uint32_t interface, Hook hook, std::uint16_t priority) {
  tcmsg out{};
  out.tcm_ifindex = static_cast<int>(interface);
  out.tcm_parent = parent_of(hook);
  out.tcm_handle = priority ? filter_handle : 0;
  out.tcm_info = TC_H_MAKE(static_cast<std::uint32_t>(priority) << 16,
                           static_cast<std::uint32_t>(htons(priority ? ETH_P_ALL : 0)));
  return out;
}

std::string digest_of(std::span<const std::byte> bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return fmt::format("{:08x}", crc.checksum());
}

std::uint32_t index_of(const std::string& device) {
  const auto index = ::if_nametoindex(device.c_str());
  if (!index) throw std::runtime_error(fmt::format("there is no device {}", device));
  return index;
}

void put_mirred(netlink::Messages& messages, std::uint16_t order, std::uint32_t to, bool copy) {
  auto action = messages.nest(order);
  messages.text(TCA_ACT_KIND, "mirred");
  auto options = messages.nest(TCA_ACT_OPTIONS);
  tc_mirred mirred{};
  mirred.action = copy ? TC_ACT_PIPE : TC_ACT_STOLEN;
  mirred.eaction = copy ? TCA_EGRESS_MIRROR : TCA_EGRESS_REDIR;
  mirred.ifindex = to;
  messages.bytes(TCA_MIRRED_PARMS, &mirred, sizeof mirred);
}

std::vector<std::uint32_t> targets(const nlattr* actions) {
  std::vector<std::uint32_t> out;
  netlink::each_attribute(netlink::payload(actions), [&](const nlattr* action) {
    const auto* parameters = netlink::find(netlink::find(action, TCA_ACT_OPTIONS), TCA_MIRRED_PARMS);
    const auto bytes = netlink::payload(parameters);
    tc_mirred mirred{};
    if (bytes.size() < sizeof mirred) return;
    std::memcpy(&mirred, bytes.data(), sizeof mirred);
    out.push_back(mirred.ifindex);
  });
  return out;
}

void read_last_action(const nlattr* actions, Filter& into) {
  netlink::each_attribute(netlink::payload(actions), [&](const nlattr* action) {
    into.to =
        netlink::value<tc_mirred>(netlink::find(netlink::find(action, TCA_ACT_OPTIONS), TCA_MIRRED_PARMS))
            .ifindex;
    // Of mirred, what it could not pass on (tcf_mirred_act in net/sched/act_mirred.c).
    into.dropped =
        netlink::value<gnet_stats_queue>(netlink::find(netlink::find(action, TCA_ACT_STATS), TCA_STATS_QUEUE))
            .overlimits;
  });
}

// Loaded by the kernel itself, the module makes an ifb0 and an ifb1 that nobody asked for. Built in, there is
// nothing to load; where loading fails, making the device tells why.
void load_ifb() {
  if (::access("/sys/module/ifb", F_OK) == 0) return;
  auto modprobe = std::string(trimmed(read_file("/proc/sys/kernel/modprobe").value_or("")));
  if (modprobe.empty()) return;
  char* arguments[] = {modprobe.data(), const_cast<char*>("-q"), const_cast<char*>("ifb"),
                       const_cast<char*>("numifbs=0"), nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  if (::posix_spawn(&pid, modprobe.c_str(), nullptr, nullptr, arguments, environment) != 0) return;
  restore_descriptor_limit(pid);
  ::waitpid(pid, nullptr, 0);
}

void make_ifb(const std::string& name, const std::string& alias) {
  load_ifb();
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages make;
  make.begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  make.text(IFLA_IFNAME, name);
  make.u32(IFLA_TXQLEN, ifb_queue);
  {
    auto info = make.nest(IFLA_LINKINFO);
    make.text(IFLA_INFO_KIND, "ifb");
  }
  netlink::must(route, make);
  netlink::Messages raise;
  ifinfomsg link{};
  link.ifi_index = static_cast<int>(index_of(name));
  raise.begin(RTM_NEWLINK, 0, link);
  raise.bytes(IFLA_IFALIAS, alias.data(), alias.size());
  {
    auto families = raise.nest(IFLA_AF_SPEC);
    auto v6 = raise.nest(AF_INET6);
    raise.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  }
  link.ifi_flags = link.ifi_change = IFF_UP;
  raise.begin(RTM_NEWLINK, NLM_F_ACK, link);
  netlink::must(route, raise);
}

boost::json::object record(const Place& place, const std::string& device, std::uint32_t interface) {
  return {{"netns", place.network_namespace},
          {"pid", place.namespace_pid},
          {"device", device},
          {"index", interface}};
}

void add(Transaction& transaction, const Place& place, std::string what, Inverse inverse,
         std::function<void()> act) {
  Change change;
  change.what = std::move(what);
  change.inverse = std::move(inverse);
  change.act = [place, act = std::move(act)] {
    in_network_namespace(place.network_namespace, place.namespace_pid, act);
  };
  transaction.add(std::move(change));
}

}  // namespace

namespace {
bool has_tcx(std::uint32_t interface, Hook hook) {
  constexpr std::uint32_t tcx_ingress = 46,
                          tcx_egress = 47;  // BPF_TCX_INGRESS, BPF_TCX_EGRESS, which headers before 6.6 lack
  bpf_attr attribute{};
  attribute.query.target_fd = interface;
  attribute.query.attach_type = hook == Hook::egress ? tcx_egress : tcx_ingress;
  return ::syscall(SYS_bpf, BPF_PROG_QUERY, &attribute, sizeof attribute) == 0 &&
         attribute.query.prog_cnt > 0;
}
}  // namespace

bool classified(std::uint32_t interface, Hook hook) {
  return !filters(interface, hook).empty() || has_tcx(interface, hook);
}

std::vector<Filter> filters(std::uint32_t interface, Hook hook) {
  std::vector<Filter> out;
  netlink::Dumper dumper{NETLINK_ROUTE};
  const auto header = filter_header(interface, hook, 0);
  dumper.dump(RTM_GETTFILTER, std::as_bytes(std::span(&header, 1)), [&](const nlmsghdr* message) {
    const auto* info = static_cast<const tcmsg*>(nlmsg_data(message));
    // Each filter is preceded by a message for its chain at that priority, without a handle.
    if (message->nlmsg_type != RTM_NEWTFILTER || info->tcm_handle == 0) return;
    Filter filter;
    filter.priority = static_cast<std::uint16_t>(TC_H_MAJ(info->tcm_info) >> 16);
    filter.handle = info->tcm_handle;
    filter.kind = netlink::text(netlink::find(message, sizeof *info, TCA_KIND));
    if (filter.kind == "bpf") {
      const auto* options = netlink::find(message, sizeof *info, TCA_OPTIONS);
      filter.digest = digest_of(netlink::payload(netlink::find(options, TCA_BPF_OPS)));
      filter.leads_to = targets(netlink::find(options, TCA_BPF_ACT));
      read_last_action(netlink::find(options, TCA_BPF_ACT), filter);
    }
    out.push_back(std::move(filter));
  });
  return out;
}

std::string led_here(std::uint32_t interface) {
  for (auto& link : links::all())
    for (auto hook : {Hook::egress, Hook::ingress}) {
      if (link.index == interface) continue;
      for (auto& filter : filters(link.index, hook))
        if (std::find(filter.leads_to.begin(), filter.leads_to.end(), interface) != filter.leads_to.end())
          return fmt::format("{} of {}, preference {}", hook == Hook::egress ? "egress" : "ingress",
                             link.name, filter.priority);
    }
  return "";
}

Anchor anchor(std::uint32_t interface) {
  Anchor out = Anchor::none;
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_CLSACT;
  messages.begin(RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO,
                 header);  // without the echo, kernels before 6.8 tell their listeners only
  route.exchange(messages, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWQDISC) return;
    const auto kind = netlink::text(netlink::find(message, sizeof header, TCA_KIND));
    if (kind == "clsact") out = Anchor::clsact;
    if (kind == "ingress") out = Anchor::ingress;
  });
  return out;
}

std::string alias_of_ifb(const std::string& alias, const std::string& name) {
  return alias + " " + name;
}

void add_ifb(Transaction& transaction, const Place& place, const std::string& name,
             const std::string& alias) {
  auto with = record(place, name, 0);
  // Also told by it where somebody gave it another name: no two are alike.
  const auto own_alias = alias_of_ifb(alias, name);
  with["alias"] = own_alias;
  add(transaction, place, fmt::format("add the device {} (ifb)", name), {"ifb.delete", std::move(with)},
      [=] { make_ifb(name, own_alias); });
}

void add_clsact(Transaction& transaction, const Place& place, const std::string& device,
                std::uint32_t interface) {
  add(transaction, place, fmt::format("add clsact to {}", device),
      {"clsact.delete", record(place, device, interface)}, [=] {
        netlink::Socket route{NETLINK_ROUTE};
        netlink::Messages messages;
        tcmsg header{};
        header.tcm_ifindex = static_cast<int>(interface);
        header.tcm_parent = TC_H_CLSACT;
        header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
        messages.begin(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header);
        messages.text(TCA_KIND, "clsact");
        netlink::must(route, messages);
      });
}

std::optional<Filter> find(const Redirect& ours) {
  for (auto& filter : filters(ours.interface, ours.hook))
    if (filter.priority == ours.priority && filter.kind == "bpf" && filter.digest == ours.digest)
      return filter;
  return {};
}

void remove(const Redirect& ours) {
  if (!find(ours)) return;
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  auto header = filter_header(ours.interface, ours.hook, ours.priority);
  header.tcm_handle = 0;
  messages.begin(RTM_DELTFILTER, NLM_F_ACK, header);
  messages.text(TCA_KIND, "bpf");
  route.exchange(messages);
}

Redirect add_redirect(Transaction& transaction, const Place& place, const std::string& device,
                      std::uint32_t interface, Hook hook, const std::vector<sock_filter>& program,
                      const std::string& to, const std::string& copy, const std::string& what) {
  std::uint16_t priority = first_priority;
  in_network_namespace(place.network_namespace, place.namespace_pid, [&] {
    for (auto& other : filters(interface, hook))
      priority = std::max<std::uint16_t>(priority, static_cast<std::uint16_t>(other.priority + 1));
  });
  const std::string at = hook == Hook::egress ? "egress" : "ingress";
  // Those that are queued already, of the other direction on lo.
  for (auto& change : transaction.changes())
    if (change.inverse && change.inverse->verb == "filter.delete" &&
        change.inverse->with.at("index") == interface &&
        change.inverse->with.at("hook") == boost::json::value(at))
      priority = std::max<std::uint16_t>(
          priority,
          static_cast<std::uint16_t>(change.inverse->with.at("priority").to_number<std::uint16_t>() + 1));
  const auto bytes = std::as_bytes(std::span(program));
  auto with = record(place, device, interface);
  with["hook"] = at;
  with["priority"] = priority;
  const Redirect out{interface, hook, priority, digest_of(bytes)};
  with["program"] = out.digest;
  add(transaction, place,
      fmt::format("add a filter to {} {}, priority {}, that leads {} to {}", device, at, priority, what, to),
      {"filter.delete", std::move(with)}, [=] {
        netlink::Socket route{NETLINK_ROUTE};
        netlink::Messages messages;
        messages.begin(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                       filter_header(interface, hook, priority));
        messages.text(TCA_KIND, "bpf");
        {
          auto options = messages.nest(TCA_OPTIONS);
          {
            auto actions = messages.nest(TCA_BPF_ACT);
            put_mirred(messages, 1, index_of(copy), true);
            put_mirred(messages, 2, index_of(to), false);
          }
          messages.u16(TCA_BPF_OPS_LEN, static_cast<std::uint16_t>(program.size()));
          messages.bytes(TCA_BPF_OPS, program.data(), program.size() * sizeof program[0]);
        }
        netlink::must(route, messages);
      });
  return out;
}

}  // namespace squall::traffic_control
