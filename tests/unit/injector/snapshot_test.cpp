#include "injector/host/snapshot/snapshot.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Snapshot, two_alike_differ_in_nothing) {
  HostState state{{"link lo", "device up, mtu 65536"}};
  EXPECT_TRUE(differences(state, state).empty());
}

TEST(Snapshot, a_difference_says_what_was_and_what_is) {
  HostState before{{"qdisc root of eth0", "noqueue 0:"},
                   {"nftables table ip nat", "2 chains, 3 rules, 0 sets"}};
  HostState after{{"qdisc root of eth0", "htb 1:"}, {"link sqifb0", "ifb up, mtu 1500"}};
  EXPECT_EQ(differences(before, after),
            (std::vector<std::string>{"link sqifb0 is new: ifb up, mtu 1500",
                                      "nftables table ip nat is gone: it was 2 chains, 3 rules, 0 sets",
                                      "qdisc root of eth0: was noqueue 0:, is htb 1:"}));
}

TEST(Snapshot, a_limit_without_a_line_is_at_its_default) {
  EXPECT_EQ(differences({}, {{"cgroup /sys/fs/cgroup/a cpu.max", "20000 100000"}}).at(0),
            "cgroup /sys/fs/cgroup/a cpu.max: was at its default, is 20000 100000");
  EXPECT_EQ(differences({{"process redis-server[12]", "stopped"}}, {}).at(0),
            "process redis-server[12]: was stopped, is not stopped");
}

TEST(Snapshot, what_differs_can_be_looked_at) {
  const HostState before{{"link eth0", "device up"},
                         {"cgroup /sys/fs/cgroup/a cpu.max", "20000 100000"},
                         {"sysctl vm.swappiness", "60"}};
  const HostState after{{"link eth0", "device down"},
                        {"sysctl vm.swappiness", "60"},
                        {"route to 10.70.0.0/16 in table 254, metric 0", "type 1"},
                        {"route to 10.71.0.0/16 in table 254, metric 0", "type 1"},
                        {"filter at clsact egress of eth0, preference 1, handle 1", "bpf"},
                        {"nftables table inet theirs", "1 chains"},
                        {"process redis-server (old)[12]", "stopped"}};
  EXPECT_EQ(commands_that_show_differences(before, after),
            (std::vector<std::string>{
                "cat '/sys/fs/cgroup/a/cpu.max'",
                "tc filter show dev eth0; tc filter show dev eth0 ingress; tc filter show dev eth0 egress",
                "ip -d link show eth0", "nft list table inet theirs", "ps -o pid,stat,lstart,args -p 12",
                "ip route show table all; ip -6 route show table all"}));
}

TEST(Snapshot, leaves_out_what_other_sessions_made) {
  const HostState all{{"link eth0", "up"},
                      {"link sqdeadbeef", "up"},  // somebody else's name
                      {"link sq0000000a1t00", "tun"},
                      {"link sq0000000b1t00", "tun"},
                      {"address fe80::1/64 of sq0000000b1t00", "scope 253"},
                      {"nftables table inet sq0000000b12", "3 chains"},
                      {"nftables table netdev sqdoctor", "1 chains"},
                      {"cgroup /run/net_cls/batch/sq0000000b1 net_cls.classid", "7"},
                      {"filter at clsact egress of sq0000000b1, preference 1, handle 1", "bpf"}};
  const HostState mine{{"link eth0", "up"}, {"link sqdeadbeef", "up"}, {"link sq0000000a1t00", "tun"}};
  EXPECT_EQ(without_other_sessions(all, "0000000a"), mine);
}

TEST(Snapshot, of_this_host_is_the_same_a_moment_later_apart_from_what_others_did) {
  auto before = snapshot_host();
  EXPECT_TRUE(before.contains("link lo"));
  EXPECT_TRUE(before.contains("sysctl net.ipv4.ip_forward"));
  EXPECT_TRUE(before.contains("mount /proc"));
  auto after = snapshot_host();
  EXPECT_EQ(before.at("link lo"), after.at("link lo"));
  EXPECT_EQ(before.at("qdisc root of lo"), after.at("qdisc root of lo"));
}

}  // namespace
}  // namespace squall
