// Hosts have settings of their own: whatever a fault does, afterwards the usual tools print them byte for
// byte as before.
#include <gtest/gtest.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::ping;
using testing::RunFault;
using testing::shell;
using testing::UdpEcho;

constexpr std::uint16_t port = 7017;

bool shell_can(const std::string& command) {
  try {
    shell(command);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// Settings of somebody else's; what this kernel lacks is told, and the others are made.
struct Setting {
  const char* name;
  std::vector<const char*> make;
};
void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.name;
}

const Setting settings[] = {
    {"queueing_disciplines",
     {"tc qdisc add dev sqa root handle 7: htb default 1 && tc class add dev sqa parent 7: classid 7:1 htb "
      "rate 1gbit",
      "tc qdisc add dev sqq root handle 8: mq",
      "tc qdisc replace dev sqq parent 8:1 fq_codel target 7ms && tc qdisc replace dev sqq parent 8:2 "
      "fq_codel limit 777",
      "tc qdisc add dev sqa clsact && tc filter add dev sqa egress prio 7 protocol ip u32 match u32 0 0 "
      "action continue && "
      "tc filter add dev sqa ingress prio 49152 protocol ip u32 match u32 0 0 action continue",
      "tc qdisc add dev sqq ingress && tc filter add dev sqq parent ffff: protocol ip u32 match u32 0 0 "
      "action continue"}},
    {"netem", {"tc qdisc add dev sqa root handle 9: netem delay 1ms 0.2ms distribution normal loss 0.01%"}},
    {"firewalls_and_routes",
     {"nft -f - <<'END'\ntable inet firewall {\n set allowed { type ipv4_addr; elements = { 10.99.0.1, "
      "10.99.0.2 } }\n"
      " chain input { type filter hook input priority filter; policy accept; ip saddr @allowed accept; tcp "
      "dport 22 accept; }\n"
      " chain early { type filter hook prerouting priority -400; policy accept; meta mark set 0x5; }\n}\n"
      "table netdev edge {\n chain in { type filter hook ingress device \"sqa\" priority 0; policy accept; "
      "ip saddr 192.0.2.1 drop; }\n}\nEND\n",
      "iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT && iptables-nft -t nat -A POSTROUTING -o sqa -j "
      "MASQUERADE",
      "ip6tables-nft -t mangle -A PREROUTING -j MARK --set-mark 7",
      "iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT && iptables-legacy -t mangle -A PREROUTING -i "
      "sqa -j MARK --set-mark 3",
      "ip rule add fwmark 9 lookup 99 && ip route add 192.0.2.0/24 via 10.99.0.2 table 99",
      "ip neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev sqa && sysctl -qw "
      "net.ipv4.conf.sqa.rp_filter=2"}},
};

// Everything the usual tools say, but for counters and ages.
std::string told() {
  return shell(
      "tc qdisc show; for d in sqa sqq lo; do tc class show dev $d; tc filter show dev $d egress; tc filter "
      "show dev $d ingress; tc filter show dev $d; done; "
      "nft -s list ruleset; { iptables-legacy-save; ip6tables-legacy-save; iptables-nft-save; } 2>/dev/null "
      "| grep -v '^[#:]'; "
      "ip -o address; ip -o link; ip rule; ip route show table all; ip -6 route show table all; ip neigh "
      "show nud permanent; cat /proc/self/mountinfo; "
      "cd /proc/sys/net/ipv4/conf && grep -s . all/* default/* lo/* sqa/* sqq/*; true");
}

class ForeignState : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    shell(
        "ip link add sqq numtxqueues 2 numrxqueues 2 type veth peer name sqr numtxqueues 2 numrxqueues 2 && "
        "ip link set sqr up && ip link set sqq up");
    for (auto* command : GetParam().make)
      if (shell_can(command)) {
        ++made;
      } else {
        std::printf("not on this kernel: %s\n", command);
      }
    network.at_the_other_end([&] { echo = std::make_unique<UdpEcho>(port); });
    // Duplicate address detection ends, and what a tool loads when it is first run is there.
    for (int i = 0; i < 100 && shell("ip -o address").find("tentative") != std::string::npos; ++i)
      ::usleep(100'000);
    told();
    ping("10.99.0.2", port, 10, 10'000);
  }
  OwnNetwork network;
  std::unique_ptr<UdpEcho> echo;
  int made = 0;
};

TEST_P(ForeignState, is_byte_for_byte_as_before) {
  if (made == 0) GTEST_SKIP() << "this kernel has no such thing";
  const auto before = told();
  const auto snapshot = snapshot_host();
  int tried = 0;
  for (auto [mechanism, device] : {std::pair{"kernel", "sqa"},
                                   {"kernel", "sqq"},
                                   {"kernel", "lo"},
                                   {"userland", "sqa"},
                                   {"userland", "sqq"},
                                   {"userland", "lo"}}) {
    std::string why;
    try {
      RunFault fault{"network.delay",
                     {{"delay", "20ms"}, {"direction", "both"}, {"mechanism", mechanism}},
                     {{"interface", device}}};
      fault.apply();
      EXPECT_NE(differences(snapshot, snapshot_host()), std::vector<std::string>{})
          << "nothing was changed: nothing is tested";
      if (std::string_view(device) == "sqa")
        EXPECT_GT(ping("10.99.0.2", port, 20, 10'000).median(), 30) << mechanism;
      EXPECT_EQ(fault.undo(), "");
      ++tried;
    } catch (const std::exception& refused) {
      why = refused.what();  // where as before cannot be promised, it refuses: then nothing may be different
                             // either
    }
    EXPECT_EQ(told(), before) << mechanism << " on " << device << " " << why;
    EXPECT_EQ(differences(snapshot, snapshot_host()), std::vector<std::string>{})
        << mechanism << " on " << device;
  }
  EXPECT_GE(tried, 3) << "hardly anything could be tried";
}

INSTANTIATE_TEST_SUITE_P(Of, ForeignState, ::testing::ValuesIn(settings),
                         [](auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace squall
