#include "injector/host/snapshot.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include <arpa/inet.h>
#include <net/if.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
using State = std::map<std::string, std::string>;
using Attributes = std::map<int, std::string>;

// One netlink dump; `take` sees every message. Errors end it: what the kernel does not have is not part of the picture.
class Dump {
 public:
  explicit Dump(int bus) : socket_(mnl_socket_open2(bus, SOCK_CLOEXEC)) {
    if (socket_ && mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) close();
  }
  ~Dump() { close(); }
  Dump(const Dump&) = delete;

  void run(int type, const void* header, std::size_t size, const std::function<void(const nlmsghdr*)>& take) {
    if (!socket_) return;
    alignas(nlmsghdr) char request[256] = {};
    auto* message = mnl_nlmsg_put_header(request);
    message->nlmsg_type = static_cast<std::uint16_t>(type);
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message->nlmsg_seq = ++sequence_;
    std::memcpy(mnl_nlmsg_put_extra_header(message, size), header, size);
    if (mnl_socket_sendto(socket_, message, message->nlmsg_len) < 0) return;
    std::vector<char> buffer(65536);
    for (;;) {
      const auto got = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
      if (got <= 0) return;
      int left = static_cast<int>(got);
      for (auto* one = reinterpret_cast<nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(one, left); one = mnl_nlmsg_next(one, &left)) {
        if (one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR) return;
        take(one);
      }
    }
  }

 private:
  void close() {
    if (socket_) mnl_socket_close(std::exchange(socket_, nullptr));
  }
  mnl_socket* socket_;
  unsigned sequence_ = 0;
};

Attributes attributes(const nlmsghdr* message, std::size_t header) {
  Attributes out;
  auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  for (auto* one = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, header));
       mnl_attr_ok(one, static_cast<int>(end - reinterpret_cast<const char*>(one))); one = mnl_attr_next(one))
    out[mnl_attr_get_type(one)] = std::string(static_cast<const char*>(mnl_attr_get_payload(one)), mnl_attr_get_payload_len(one));
  return out;
}

std::string text(const Attributes& all, int type) {
  auto found = all.find(type);
  return found == all.end() ? "" : std::string(found->second.c_str());
}

std::string digest(const std::string& bytes) { return bytes.empty() ? "" : fmt::format("{:016x}", std::hash<std::string>{}(bytes)); }

std::string device(int index) {
  char name[IF_NAMESIZE] = "";
  return ::if_indextoname(static_cast<unsigned>(index), name) ? name : fmt::format("#{}", index);
}

std::string handle(std::uint32_t value) { return fmt::format("{:x}:{:x}", value >> 16, value & 0xffff); }

void links_and_qdiscs(State& out) {
  Dump route{NETLINK_ROUTE};
  std::vector<int> devices;
  ifinfomsg links{};
  route.run(RTM_GETLINK, &links, sizeof links, [&](const nlmsghdr* message) {
    auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
    const auto all = attributes(message, sizeof *info);
    devices.push_back(info->ifi_index);
    out[fmt::format("link {}", text(all, IFLA_IFNAME))] =
        fmt::format("index {}, {}, mtu {}", info->ifi_index, info->ifi_flags & IFF_UP ? "up" : "down", digest(all.contains(IFLA_MTU) ? all.at(IFLA_MTU) : ""));
  });
  tcmsg qdiscs{};
  route.run(RTM_GETQDISC, &qdiscs, sizeof qdiscs, [&](const nlmsghdr* message) {
    auto* info = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
    const auto all = attributes(message, sizeof *info);
    out[fmt::format("qdisc {} {} parent {}", device(info->tcm_ifindex), text(all, TCA_KIND), handle(info->tcm_parent))] =
        fmt::format("handle {} options {}", handle(info->tcm_handle), digest(all.contains(TCA_OPTIONS) ? all.at(TCA_OPTIONS) : ""));
  });
  for (int index : devices)
    for (std::uint32_t parent : {0u, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)}) {
      tcmsg filters{};
      filters.tcm_ifindex = index;
      filters.tcm_parent = parent;
      route.run(RTM_GETTFILTER, &filters, sizeof filters, [&](const nlmsghdr* message) {
        auto* info = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
        const auto all = attributes(message, sizeof *info);
        out[fmt::format("filter {} parent {} pref {} handle {:x}", device(index), handle(parent), info->tcm_info >> 16, info->tcm_handle)] = text(all, TCA_KIND);
      });
    }
}

// Names, hooks and the handles of rules; their counters count on their own and are no difference.
void nftables(State& out) {
  Dump filter{NETLINK_NETFILTER};
  nfgenmsg all_families{};
  auto family = [](const nlmsghdr* message) {
    switch (static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family) {
      case 1: return "inet";
      case 2: return "ip";
      case 3: return "arp";
      case 5: return "netdev";
      case 7: return "bridge";
      case 10: return "ip6";
      default: return "?";
    }
  };
  auto type = [](int one) { return (NFNL_SUBSYS_NFTABLES << 8) | one; };
  filter.run(type(NFT_MSG_GETTABLE), &all_families, sizeof all_families, [&](const nlmsghdr* message) {
    out[fmt::format("nftables table {} {}", family(message), text(attributes(message, sizeof(nfgenmsg)), NFTA_TABLE_NAME))] = "there";
  });
  filter.run(type(NFT_MSG_GETCHAIN), &all_families, sizeof all_families, [&](const nlmsghdr* message) {
    const auto all = attributes(message, sizeof(nfgenmsg));
    out[fmt::format("nftables chain {} {} {}", family(message), text(all, NFTA_CHAIN_TABLE), text(all, NFTA_CHAIN_NAME))] =
        all.contains(NFTA_CHAIN_HOOK) ? digest(all.at(NFTA_CHAIN_HOOK)) : "no hook";
  });
  filter.run(type(NFT_MSG_GETRULE), &all_families, sizeof all_families, [&](const nlmsghdr* message) {
    const auto all = attributes(message, sizeof(nfgenmsg));
    std::uint64_t number = 0;
    if (all.contains(NFTA_RULE_HANDLE)) std::memcpy(&number, all.at(NFTA_RULE_HANDLE).data(), sizeof number);
    out[fmt::format("nftables rule {} {} {} handle {}", family(message), text(all, NFTA_RULE_TABLE), text(all, NFTA_RULE_CHAIN), be64toh(number))] = "there";
  });
}

void cgroups(State& out) {
  static constexpr std::array<std::string_view, 9> files{"io.max",      "cpu.max",    "memory.max", "memory.high", "pids.max", "cgroup.freeze", "freezer.state",
                                                         "io.weight",   "cpu.weight"};
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator("/sys/fs/cgroup", fs::directory_options::skip_permission_denied, error);
       !error && it != fs::recursive_directory_iterator{}; it.increment(error)) {
    const auto name = it->path().filename().string();
    const bool throttle = name.starts_with("blkio.throttle.") && name.ends_with("_device");
    if (!throttle && std::find(files.begin(), files.end(), name) == files.end()) continue;
    std::ifstream file{it->path()};
    std::stringstream content;
    content << file.rdbuf();
    // An unset limit says nothing: cgroups that come and go with their services are no difference.
    auto value = content.str();
    while (!value.empty() && value.back() == '\n') value.pop_back();
    if (value.empty() || value == "max" || value == "max 100000" || value == "0" || value == "default 100" || value == "100" || value == "THAWED") continue;
    out[fmt::format("cgroup {}", it->path().string())] = value;
  }
}

void mounts(State& out) {
  std::ifstream file{"/proc/self/mountinfo"};
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields{line};
    std::string id, parent, device_number, root, point, options;
    fields >> id >> parent >> device_number >> root >> point >> options;
    out[fmt::format("mount {} ({})", point, id)] = fmt::format("{} {} {}", device_number, root, options);
  }
}

void stopped_processes(State& out) {
  std::error_code error;
  for (auto& entry : fs::directory_iterator("/proc", error)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (auto stat = read_process_stat(std::stoi(name)); stat && stat->state == 'T') out[fmt::format("process {} started {}", name, stat->start_ticks)] = "stopped";
  }
}

}  // namespace

State snapshot_host() {
  State out;
  links_and_qdiscs(out);
  nftables(out);
  cgroups(out);
  mounts(out);
  stopped_processes(out);
  return out;
}

std::vector<std::string> differences(const State& before, const State& after) {
  std::vector<std::string> out;
  for (auto& [what, was] : before) {
    auto now = after.find(what);
    if (now == after.end())
      out.push_back(fmt::format("{} is gone (it was: {})", what, was));
    else if (now->second != was)
      out.push_back(fmt::format("{} was \"{}\", is \"{}\"", what, was, now->second));
  }
  for (auto& [what, now] : after)
    if (!before.contains(what)) out.push_back(fmt::format("{} is new ({})", what, now));
  return out;
}

}  // namespace squall
