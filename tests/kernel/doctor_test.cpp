// What the doctor says, beside what the usual tools can do on this kernel.
#include <filesystem>

#include <gtest/gtest.h>

#include "injector/faults/fault.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;

bool shell_can(const std::string& command) {
  try {
    testing::shell(command);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

Capability capability(const std::string& fault, const std::string& mechanism) {
  for (auto& one : find_fault(fault)->doctor())
    if (one.mechanism.starts_with(mechanism)) return one;
  ADD_FAILURE() << fault << " has no mechanism " << mechanism;
  return {};
}

class Doctor : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(Doctor, knows_whether_there_is_netem) {
  const OwnNetwork network;
  const bool can = shell_can(
      "ip link add sqdoc type ifb && ip link set sqdoc up && tc qdisc add dev sqdoc root netem delay 1ms && "
      "tc qdisc add dev lo clsact && "
      "tc filter add dev lo egress bpf bytecode '1,6 0 0 4294967295' action mirred egress redirect dev "
      "sqdoc");
  const auto said = capability("network.delay", "netem");
  EXPECT_EQ(said.possible, can) << said.missing;
  EXPECT_EQ(said.missing.empty(), said.possible);
  if (can) return;
  // What is not possible is refused when it is asked for, with the reason.
  try {
    RunFault{"network.delay", {{"delay", "1ms"}, {"mechanism", "kernel"}}, {{"interface", "lo"}}};
    ADD_FAILURE() << "it was not refused";
  } catch (const std::exception& refused) {
    EXPECT_NE(std::string(refused.what()).find(said.missing), std::string::npos) << refused.what();
  }
}

TEST_F(Doctor, knows_whether_there_is_a_packet_queue) {
  const OwnNetwork network;
  const bool can = shell_can(
                       "nft add table inet sqdoc && nft add chain inet sqdoc in '{ type filter hook input "
                       "priority 0; }' && "
                       "{ nft add rule inet sqdoc in queue num 9 bypass || iptables-nft -A INPUT -j NFQUEUE "
                       "--queue-num 9; }") &&
                   std::filesystem::exists("/dev/net/tun");
  EXPECT_EQ(capability("network.delay", "userland").possible, can);
}

TEST_F(Doctor, chooses_one_mechanism_of_what_is_possible) {
  for (auto* fault : fault_catalogue()) {
    int chosen = 0;
    bool possible = false;
    for (auto& one : fault->doctor()) {
      chosen += one.chosen;
      possible |= one.possible;
      EXPECT_TRUE(!one.chosen || one.possible) << fault->name;
      EXPECT_FALSE(one.possible ? one.measures.empty() : one.missing.empty())
          << fault->name << " by " << one.mechanism << " says nothing";
    }
    EXPECT_EQ(chosen, possible) << fault->name;
  }
}

TEST_F(Doctor, knows_which_cgroups_limit_disks) {
  const bool v1 = std::filesystem::exists("/sys/fs/cgroup/blkio/cgroup.procs");
  EXPECT_EQ(capability("disk.throttle", "blkio.throttle").possible, v1);
  const bool v2 = std::filesystem::exists("/sys/fs/cgroup/cgroup.controllers") &&
                  shell_can("grep -qw io /sys/fs/cgroup/cgroup.controllers");
  EXPECT_EQ(capability("disk.throttle", "io.max").possible, v2);
}

}  // namespace
}  // namespace squall
