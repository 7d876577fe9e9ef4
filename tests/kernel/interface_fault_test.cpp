// Devices that go down and carry smaller packets, and come back with all that they had.
#include <unistd.h>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "injector/host/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;
using testing::shell;

// Everything that people see of a device, without the states of the moment.
std::string told() {
  for (int i = 0; i < 100 && shell("ip -o address").find("tentative") != std::string::npos; ++i) ::usleep(100'000);
  return shell("ip -o link | sed 's/qdisc.*state/state/'; ip -o address; ip rule; ip route show table all | sort; ip -6 route show table all | sort; ip neigh show nud permanent");
}

class Interface : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    shell("ip address add 10.99.1.1/24 dev sqa && ip -6 address add fd98::1/64 dev sqa && ip -6 address add fd97::7/128 dev sqa nodad && "
          "ip route add 10.50.0.0/16 via 10.99.0.2 && ip route add 10.51.0.0/16 via 10.50.0.9 onlink dev sqa metric 50 && ip route add 10.52.0.0/16 dev sqa table 77 && "
          "ip route add 10.53.0.0/16 nexthop via 10.99.0.2 weight 3 nexthop via 10.99.1.9 && ip route add blackhole 10.54.0.0/16 && "
          "ip -6 route add fd50::/32 via fd99::2 && ip -6 route add fd51::/32 via fd98::9 metric 77 table 78 && "
          "ip neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev sqa nud permanent && ip -6 neigh add fd99::77 lladdr 02:00:00:00:00:77 dev sqa nud permanent");
    before = told();
  }
  bool reachable() const { return shell("ping -c 1 -W 1 10.99.0.2 >/dev/null && echo yes || echo no") == "yes\n"; }
  OwnNetwork network;
  std::string before;
};

TEST_F(Interface, down_and_up_again_with_all_it_had) {
  const auto snapshot = snapshot_host();
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  down.apply();
  EXPECT_FALSE(reachable());
  EXPECT_EQ(shell("ip -6 address show dev sqa"), "");
  const auto dose = down->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(down.undo(), "");
  EXPECT_EQ(told(), before);
  EXPECT_TRUE(reachable());
  EXPECT_EQ(differences(snapshot, snapshot_host()), std::vector<std::string>{});
}

TEST_F(Interface, the_journal_alone_brings_it_back) {
  {
    RunFault down{"network.down", {}, {{"interface", "sqa"}}};
    down.apply();
    EXPECT_EQ(down.undo(true), "");
  }
  EXPECT_EQ(told(), before);
  {
    RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
    small.apply();
    EXPECT_EQ(small.undo(true), "");
  }
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, what_it_got_since_the_plan_comes_back_too) {
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  shell("ip route add 10.60.0.0/16 via 10.99.0.2");
  before = told();
  down.apply();
  EXPECT_EQ(down.undo(true), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, what_it_got_between_two_flaps_comes_back_too) {
  boost::asio::io_context io;
  RunFault flapping{"network.down", {{"down_for", "300ms"}, {"up_for", "300ms"}}, {{"interface", "sqa"}}, 1, &io};
  flapping.apply();
  auto run_until = [&](bool up) {
    for (int i = 0; i < 2000 && (shell("ip link show sqa up").empty() == up); ++i) io.run_for(std::chrono::milliseconds{5});
  };
  run_until(true);
  shell("ip route add 10.60.0.0/16 via 10.99.0.2");
  run_until(false);
  EXPECT_EQ(shell("ip route show 10.60.0.0/16"), "") << "going down takes no route";
  EXPECT_EQ(flapping.undo(), "");
  EXPECT_EQ(shell("ip route show 10.60.0.0/16"), "10.60.0.0/16 via 10.99.0.2 dev sqa \n");
}

TEST_F(Interface, flaps_in_a_rhythm) {
  boost::asio::io_context io;
  RunFault flapping{"network.down", {{"down_for", "200ms"}, {"up_for", "300ms"}}, {{"interface", "sqa"}}, 1, &io};
  flapping.apply();
  io.run_for(std::chrono::milliseconds{1700});
  const auto dose = flapping->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  const auto times = dose.measured.at("times_down").to_number<int>();
  EXPECT_GE(times, 2);
  EXPECT_LE(times, 4);
  EXPECT_EQ(flapping.undo(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, somebody_else_who_puts_it_up_is_told) {
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  down.apply();
  shell("ip link set sqa up");
  EXPECT_FALSE(down->measure().verified);
  EXPECT_EQ(down.undo(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, smaller_packets) {
  {
    RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
    small.apply();
    EXPECT_EQ(shell("ping -M do -s 1272 -c 1 -W 1 10.99.0.2 >/dev/null && echo yes || echo no"), "yes\n");
    EXPECT_EQ(shell("ping -M do -s 1273 -c 1 -W 1 10.99.0.2 >/dev/null 2>&1 && echo yes || echo no"), "no\n");
    EXPECT_TRUE(small->measure().verified);
    EXPECT_EQ(small.undo(), "");
  }
  EXPECT_EQ(told(), before);
  RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
  small.apply();
  shell("ip link set sqa mtu 1400");
  EXPECT_NE(small.undo().find("neither ours nor the one before"), std::string::npos);
}

TEST_F(Interface, what_would_cut_the_host_off_is_refused) {
  auto refused = [](const std::string& fault, boost::json::object with, const std::string& device) {
    try {
      RunFault one{fault, std::move(with), {{"interface", device}}};
      return std::string{};
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  EXPECT_NE(refused("network.down", {}, "lo").find("talks to itself"), std::string::npos);
  EXPECT_NE(refused("network.mtu", {{"mtu", 1000}}, "sqa").find("IPv6"), std::string::npos);
  shell("ip route add default via 10.99.0.2");
  EXPECT_NE(refused("network.down", {}, "sqa").find("default route"), std::string::npos);
  EXPECT_EQ(refused("network.down", {{"allow_isolation", true}}, "sqa"), "");
}

}  // namespace
}  // namespace squall
