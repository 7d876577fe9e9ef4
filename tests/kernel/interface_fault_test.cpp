// Devices that go down and carry smaller packets, and come back with all that they had.
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <array>

#include "injector/host/interfaces/interface_state.hpp"
#include "injector/host/interfaces/ip_commands.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/network_namespace.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;
using testing::shell;

// Everything that people see of a device, without the states of the moment.
std::string told() {
  for (int i = 0; i < 100 && shell("ip -o address").find("tentative") != std::string::npos; ++i)
    ::usleep(100'000);
  return shell(
      "ip -o link | sed 's/qdisc.*state/state/'; ip -o address; ip rule; ip route show table all | sort; ip "
      "-6 route show table all | sort; ip neigh show nud permanent; ip neigh show proxy | sort; ip nexthop | "
      "sort");
}

// Down and up again as from the journal alone; what could not be put back.
std::string flap(const std::string& device = "sqa") {
  RunFault down{"network.down", {}, {{"interface", device}}};
  down.apply();
  EXPECT_TRUE(down->measure().verified);
  return down.undo(true);
}

// Why a fault cannot be prepared.
std::string refusal(const std::string& fault, boost::json::object with, const std::string& device) {
  try {
    RunFault one{fault, std::move(with), {{"interface", device}}};
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

class Interface : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    shell(
        "ip address add 10.99.1.1/24 dev sqa && ip -6 address add fd98::1/64 dev sqa && ip -6 address add "
        "fd97::7/128 dev sqa nodad && "
        "ip route add 10.50.0.0/16 via 10.99.0.2 && ip route add 10.51.0.0/16 via 10.50.0.9 onlink dev sqa "
        "metric 50 && ip route add 10.52.0.0/16 dev sqa table 77 && "
        "ip route add 10.53.0.0/16 nexthop via 10.99.0.2 weight 3 nexthop via 10.99.1.9 && ip route add "
        "blackhole 10.54.0.0/16 && "
        "ip -6 route add fd50::/32 via fd99::2 && ip -6 route add fd51::/32 via fd98::9 metric 77 table 78 "
        "&& "
        "ip neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev sqa nud permanent && ip -6 neigh add fd99::77 "
        "lladdr 02:00:00:00:00:77 dev sqa nud permanent");
    before = told();
  }
  bool reachable() const {
    return shell("ping -c 1 -W 1 10.99.0.2 >/dev/null && echo yes || echo no") == "yes\n";
  }
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
  EXPECT_GT(dose.measured.at("packets_refused").to_number<int>(), 0);
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

// As a router advertises it. The kernel sets it to the device's own whenever that changes, or the device
// comes up.
TEST_F(Interface, the_mtu_of_ipv6_and_of_its_routes_comes_back) {
  shell(
      "echo 1400 >/proc/sys/net/ipv6/conf/sqa/mtu && ip -6 route add fd52::/32 via fd99::2 mtu 1400 && ip -6 "
      "route add fd53::/32 via fd99::2 mtu 1350");
  const auto mtus = [] {
    return shell(
        "cat /proc/sys/net/ipv6/conf/sqa/mtu; ip -6 route show fd52::/32; ip -6 route show fd53::/32");
  };
  const auto as_it_was = mtus();
  const auto snapshot = snapshot_host();
  for (const bool from_the_journal : {false, true}) {
    RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
    small.apply();
    EXPECT_NE(mtus(), as_it_was) << "nothing is tested";
    EXPECT_EQ(small.undo(from_the_journal), "");
    EXPECT_EQ(mtus(), as_it_was);
    EXPECT_EQ(flap(), "");
    EXPECT_EQ(mtus(), as_it_was);
    EXPECT_EQ(differences(snapshot, snapshot_host()), std::vector<std::string>{});
  }
}

TEST_F(Interface, an_mtu_of_ipv6_that_somebody_sets_meanwhile_stays) {
  RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
  small.apply();
  shell("echo 1290 >/proc/sys/net/ipv6/conf/sqa/mtu");
  EXPECT_EQ(small.undo(), "");
  EXPECT_EQ(shell("cat /proc/sys/net/ipv6/conf/sqa/mtu"), "1290\n");
}

// As NetworkManager sets a device up.
TEST_F(Interface, routes_that_the_kernel_does_not_make_again_come_back) {
  shell(
      "ip address add 10.98.0.1/24 dev sqa noprefixroute && ip route add 10.98.0.0/24 dev sqa proto kernel "
      "scope link src 10.98.0.1 metric 100 && ip route add 10.97.0.0/16 via 10.98.0.2 metric 100 && "
      "ip -6 address add fd96::1/64 dev sqa noprefixroute && ip -6 route add fd96::/64 dev sqa proto kernel "
      "metric 100 && ip -6 route add fd95::/32 via fd99::2 proto ra metric 100");
  before = told();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, a_route_of_its_own_beside_the_same_one_of_another_device_comes_back) {
  shell(
      "ip link add sqc type veth peer name sqd && ip link set sqc up && ip link set sqd up && for one in sqa "
      "sqc; do ip -6 route append fe80::/64 dev $one proto kernel metric 1024; "
      "ip route append 10.44.0.0/16 dev $one metric 7; done");
  before = told();
  EXPECT_EQ(flap("sqc"), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, a_route_comes_back_for_as_long_as_it_had_left) {
  shell(
      "ip -6 route add fd94::/64 dev sqa proto ra expires 600 && ip -6 route add fd93::/64 dev sqa proto ra "
      "expires 1");
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  down.apply();
  ::usleep(1'200'000);
  EXPECT_EQ(down.undo(true), "");
  const auto routes = shell("ip -6 route show proto ra");
  EXPECT_EQ(routes.find("fd93::/64"), std::string::npos) << routes;
  const auto at = routes.find("expires ");
  ASSERT_NE(at, std::string::npos) << routes;
  const auto seconds = std::stoi(routes.substr(at + 8));
  EXPECT_GT(seconds, 500);
  EXPECT_LT(seconds, 600);
}

TEST_F(Interface, a_route_whose_source_is_one_of_its_addresses_comes_back_at_once) {
  shell(
      "while ip -o address | grep -q tentative; do sleep 0.1; done; ip -6 route add fd92::/32 via fd99::2 "
      "src fd98::1");
  before = told();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
}

// As FRR sets a host up.
TEST_F(Interface, nexthop_objects_and_the_routes_by_them_come_back) {
  shell(
      "ip link add sqc type veth peer name sqd && ip link set sqc up && ip link set sqd up && ip address add "
      "10.88.0.1/24 dev sqc && "
      "ip nexthop add id 7 via 10.99.0.2 dev sqa proto 11 && ip nexthop add id 8 via fd99::2 dev sqa && ip "
      "nexthop add id 9 via 10.88.0.2 dev sqc && ip nexthop add id 10 via 10.99.0.3 dev sqa && "
      "ip nexthop add id 70 group 7,2/9,5 && ip nexthop add id 71 group 7/10 && ip nexthop add id 72 group "
      "7/9 type resilient buckets 4 idle_timer 9 && "
      "ip route add 10.70.0.0/16 nhid 7 && ip -6 route add fd70::/32 nhid 8 && ip route add 10.71.0.0/16 "
      "nhid 70 && ip route add 10.72.0.0/16 nhid 71 && ip route add 10.73.0.0/16 nhid 72");
  before = told();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
  shell("echo 0 >/proc/sys/net/ipv4/nexthop_compat_mode");
  before = told();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, proxies_come_back) {
  shell("ip neigh add proxy 10.99.0.66 dev sqa && ip -6 neigh add proxy fd99::66 dev sqa");
  before = told();
  const auto snapshot = snapshot_host();
  {
    RunFault down{"network.down", {}, {{"interface", "sqa"}}};
    down.apply();
    EXPECT_NE(differences(snapshot, snapshot_host()).size(), 0U);
    shell("ip link set sqa up");
    const auto seen = differences(snapshot, snapshot_host());
    EXPECT_TRUE(std::any_of(seen.begin(), seen.end(), [](auto& one) {
      return one.find("proxy for 10.99.0.66") != std::string::npos;
    })) << "the snapshot does not look at them";
  }
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, what_stands_on_it_gets_back_what_it_had) {
  shell(
      "ip link add sqm link sqa type macvlan mode bridge && ip link set sqm up && ip address add "
      "10.77.0.1/24 dev sqm && ip -6 address add fd77::1/64 dev sqm nodad && "
      "ip nexthop add id 20 via 10.77.0.2 dev sqm && ip route add 10.76.0.0/16 nhid 20 && ip route add "
      "10.75.0.0/16 via 10.77.0.2 && ip neigh add proxy 10.77.0.66 dev sqm");
  before = told();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, vlans_on_it_go_down_and_come_back_as_they_were) {
  if (shell("ip link add link sqa name sqa.5 type vlan id 5 2>/dev/null && echo yes || echo no") == "no\n")
    GTEST_SKIP() << "this kernel has no 8021q";
  shell(
      "ip link add link sqa name sqa.6 type vlan id 6 && ip link add link sqa.5 name sqa.5.7 type vlan id 7 "
      "&& ip link add link sqa name sqa.8 type vlan id 8 loose_binding on && "
      "ip link set sqa.5 up && ip link set sqa.5.7 up && ip link set sqa.8 up && for n in 5 5.7 8; do "
      "id=${n#*.}; ip address add 10.4$id.0.1/24 dev sqa.$n && ip -6 address add fd4$id::1/64 dev sqa.$n && "
      "ip route add 10.3$id.0.0/16 via 10.4$id.0.2 && ip -6 route add fd3$id::/32 via fd4$id::2 && ip neigh "
      "add proxy 10.4$id.0.66 dev sqa.$n; done");
  before = told();
  const auto snapshot = snapshot_host();
  EXPECT_EQ(flap(), "");
  EXPECT_EQ(told(), before);
  EXPECT_EQ(differences(snapshot, snapshot_host()), std::vector<std::string>{});
  EXPECT_EQ(shell("ip -o link show dev sqa.6 up"), "") << "it was down";
  {
    RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
    small.apply();
    EXPECT_EQ(small.undo(true), "");
  }
  EXPECT_EQ(told(), before);
  const testing::ServerProcess container{
      [] { return ::unshare(CLONE_NEWNET) == 0 ? std::make_shared<int>(0) : nullptr; }};
  shell("ip link set sqa.5 netns " + std::to_string(container.pid()));
  EXPECT_EQ(refusal("network.down", {}, "sqa"), "") << "it is down there";
  shell("nsenter -t " + std::to_string(container.pid()) + " -n ip link set sqa.5 up");
  EXPECT_NE(refusal("network.down", {}, "sqa").find("sqa.5 in the network namespace"), std::string::npos);
}

TEST_F(Interface, the_commands_for_a_person_bring_it_all_back) {
  shell(
      "while ip -o address | grep -q tentative; do sleep 0.1; done; ip neigh add proxy 10.99.0.66 dev sqa && "
      "ip -6 neigh add fd99::78 lladdr 02:00:00:00:00:78 dev sqa nud permanent router && "
      "ip nexthop add id 7 via 10.99.0.2 dev sqa proto 11 && ip nexthop add id 71 group 7,3 && ip nexthop "
      "add id 72 group 7 type resilient buckets 4 idle_timer 9 unbalanced_timer 5 && ip route add "
      "10.71.0.0/16 nhid 71 && "
      "ip route add 10.55.0.0/16 dev sqa tos 0x10 mtu lock 1400 advmss 1360 rto_min 5ms metric 9 && ip route "
      "add 10.56.0.0/16 via inet6 fd99::2 dev sqa src 10.99.1.1 && ip route add local 10.57.0.0/16 dev sqa "
      "table 80 && "
      "ip -6 route add fd52::/32 dev sqa pref high hoplimit 9 && ip -6 route add fd92::/32 via fd99::2 src "
      "fd97::7 && ip -6 address add fd91::1 peer fd91::2/128 dev sqa nodad");
  before = told();
  auto state = links::read_state("sqa");
  ASSERT_TRUE(state);
  shell("ip link set sqa down && ip link set sqa up");
  EXPECT_NE(told(), before);
  auto addresses = state->tables.addresses;
  std::reverse(addresses.begin(), addresses.end());
  for (auto* list :
       std::array{&addresses, &state->tables.nexthops, &state->tables.routes, &state->tables.neighbours})
    for (auto& thing : *list) {
      const auto said = shell(links::ip_command(thing, "add") + " 2>&1 || true");
      EXPECT_TRUE(said.empty() || said.find("exists") != std::string::npos ||
                  said.find("already assigned") != std::string::npos)
          << links::ip_command(thing, "add") << ": " << said;
    }
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, somebody_elses_route_in_the_place_of_its_own_is_left_and_told) {
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  shell(
      "ip link add sqc type veth peer name sqd && ip link set sqc up && ip link set sqd up && ip address add "
      "10.88.0.1/24 dev sqc");
  before = told();
  down.apply();
  shell("ip route add 10.50.0.0/16 via 10.88.0.2");
  const auto inverse = down.inverses().front();
  EXPECT_NE(down.undo(true), "");
  EXPECT_EQ(shell("ip route show 10.50.0.0/16"), "10.50.0.0/16 via 10.88.0.2 dev sqc \n");
  const auto undone = find_undo_verb(inverse.verb)->carry_out(inverse.with);
  EXPECT_EQ(undone.outcome, UndoOutcome::conflict);
  shell(undone.by_hand);
  EXPECT_EQ(told(), before);
  EXPECT_EQ(find_undo_verb(inverse.verb)->carry_out(inverse.with).outcome, UndoOutcome::already);
}

TEST_F(Interface, that_is_down_already_stays_down) {
  shell("ip link set sqa down");
  before = told();
  RunFault down{"network.down", {}, {{"interface", "sqa"}}};
  EXPECT_THROW(down.apply(), std::runtime_error);
  EXPECT_EQ(told(), before);
  Transaction transaction;
  down->apply(transaction);
  const auto& inverse = *transaction.changes().front().inverse;
  EXPECT_EQ(find_undo_verb(inverse.verb)->carry_out(inverse.with).outcome, UndoOutcome::already);
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
  RunFault flapping{
      "network.down", {{"down_for", "300ms"}, {"up_for", "300ms"}}, {{"interface", "sqa"}}, 1, &io};
  flapping.apply();
  auto run_until = [&](bool up) {
    for (int i = 0; i < 2000 && (shell("ip link show sqa up").empty() == up); ++i)
      io.run_for(std::chrono::milliseconds{5});
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
  RunFault flapping{
      "network.down", {{"down_for", "200ms"}, {"up_for", "300ms"}}, {{"interface", "sqa"}}, 1, &io};
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
  ::usleep(500'000);
  const auto dose = down->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_LT(dose.measured.at("seconds_down").to_number<double>(), 0.4) << "it was up for half a second";
  EXPECT_EQ(down.undo(), "");
  EXPECT_EQ(told(), before);
}

TEST_F(Interface, that_got_another_name_comes_back_by_that) {
  for (const bool by_journal : {false, true}) {
    RunFault down{"network.down", {}, {{"interface", "sqa"}}};
    down.apply();
    shell("ip link set sqa name sqz");
    EXPECT_EQ(down.undo(by_journal), "");
    EXPECT_TRUE(reachable()) << by_journal;
    shell("ip link set sqz down && ip link set sqz name sqa && ip link set sqa up");
  }
}

TEST_F(Interface, a_new_one_of_its_name_is_left_as_it_is) {
  shell("ip link add sqc type veth peer name sqd && ip link set sqc up");
  for (const bool by_journal : {false, true}) {
    RunFault down{"network.down", {}, {{"interface", "sqc"}}};
    down.apply();
    shell("ip link delete sqc && ip link add sqc type veth peer name sqd");
    EXPECT_EQ(down.undo(by_journal), "");
    EXPECT_NE(shell("ip -o link show sqc").find("state DOWN"), std::string::npos) << by_journal;
    shell("ip link set sqc up");
  }
}

TEST_F(Interface, that_vanishes_is_told_in_the_dose) {
  for (const std::string fault : {"network.down", "network.mtu"})
    for (const bool by_journal : {false, true}) {
      shell("ip link add sqc type veth peer name sqd && ip link set sqc up && ip link set sqd up");
      RunFault one{fault,
                   fault == "network.mtu" ? boost::json::object{{"mtu", 1300}} : boost::json::object{},
                   {{"interface", "sqc"}}};
      one.apply();
      EXPECT_TRUE(one->measure().verified) << one->measure().reason;
      shell("ip link delete sqc");
      const auto dose = one->measure();
      EXPECT_FALSE(dose.verified) << fault;
      EXPECT_TRUE(dose.reason.starts_with("sqc was found gone at ") &&
                  dose.reason.ends_with(" UTC: nothing was hit since"))
          << dose.reason;
      ::usleep(300'000);
      const auto later = one->measure();
      EXPECT_EQ(later.reason, dose.reason) << "the time is that of the first look";
      EXPECT_EQ(later.measured, dose.measured) << "what is gone is not hit any more";
      EXPECT_EQ(later.samples, dose.samples);
      EXPECT_EQ(one.undo(by_journal), "");
      EXPECT_EQ(one->measure().reason, dose.reason);
    }
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

TEST_F(Interface, what_stands_on_it_gets_its_mtu_back) {
  shell(
      "ip link add sqm link sqa type macvlan mode bridge && ip link set sqm up && ip link add sqn link sqa "
      "mtu 1250 type macvlan mode bridge && ip link add sqbr type bridge && ip link add sqc type veth peer "
      "name sqd && ip link set sqc master sqbr && "
      "ip link add sqo link sqbr type macvlan");
  before = told();
  for (const std::string device : {"sqa", "sqc"}) {
    RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", device}}};
    small.apply();
    EXPECT_EQ(links::find(device == "sqa" ? "sqm" : "sqo")->mtu, 1300U);
    EXPECT_EQ(small.undo(true), "");
    EXPECT_EQ(told(), before);
  }
  RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
  small.apply();
  shell("ip link set sqm mtu 1290");
  EXPECT_NE(small.undo().find("the MTU of sqm is 1290, which is neither ours"), std::string::npos);
  EXPECT_EQ(links::find("sqa")->mtu, 1500U);
}

TEST_F(Interface, its_mtu_is_measured_from_what_the_kernel_lets_out) {
  RunFault small{"network.mtu", {{"mtu", 1300}}, {{"interface", "sqa"}}};
  EXPECT_FALSE(small->measure().verified);
  small.apply();
  EXPECT_EQ(small->measure().measured.at("mtu").to_number<int>(), 1300);
  const auto sent = links::traffic(links::find("sqa")->index).sent;
  EXPECT_TRUE(small->measure().verified);
  EXPECT_EQ(links::traffic(links::find("sqa")->index).sent, sent) << "packets of ours were sent";
  shell("ip link set sqa mtu 1400");
  EXPECT_EQ(small->measure().measured.at("mtu").to_number<int>(), 1400);
  shell("ip link set sqa mtu 1300 && ip link set sqa down");
  EXPECT_FALSE(small->measure().verified) << "its MTU is as asked, but no packet is of that length";
}

TEST_F(Interface, an_mtu_that_keeps_no_packet_back_is_refused) {
  for (int mtu : {1500, 9000})
    EXPECT_NE(refusal("network.mtu", {{"mtu", mtu}}, "sqa").find("sqa has an MTU of 1500 already"),
              std::string::npos)
        << mtu;
  EXPECT_EQ(refusal("network.mtu", {{"mtu", 1499}}, "sqa"), "");
}

TEST_F(Interface, what_stands_on_it_in_another_network_namespace_is_not_made_smaller) {
  const testing::ServerProcess container{
      [] { return ::unshare(CLONE_NEWNET) == 0 ? std::make_shared<int>(0) : nullptr; }};
  shell("ip link add sqm link sqa type macvlan mode bridge && ip link set sqm netns " +
        std::to_string(container.pid()));
  EXPECT_NE(refusal("network.mtu", {{"mtu", 1300}}, "sqa").find("sqm in the network namespace"),
            std::string::npos);
  shell("nsenter --net=/proc/" + std::to_string(container.pid()) + "/ns/net ip link set sqm mtu 1400");
  EXPECT_EQ(refusal("network.mtu", {{"mtu", 1400}}, "sqa"), "");
  EXPECT_EQ(refusal("network.down", {}, "sqa"), "") << "it only loses its carrier";
}

TEST_F(Interface, of_a_process_in_another_network_namespace) {
  const testing::ServerProcess container{
      [] { return ::unshare(CLONE_NEWNET) == 0 ? std::make_shared<int>(0) : nullptr; }};
  shell("ip link add sqc type veth peer name sqb netns " + std::to_string(container.pid()) +
        " && ip link set sqc up && ip address add 10.88.0.1/24 dev sqc");
  const auto there = [&](const std::function<void()>& act) {
    struct stat info{};
    ASSERT_EQ(::stat(("/proc/" + std::to_string(container.pid()) + "/ns/net").c_str(), &info), 0);
    in_network_namespace(info.st_ino, container.pid(), act);
  };
  there([&] {
    shell("ip link set sqb up && ip address add 10.88.0.2/24 dev sqb && ip route add default via 10.88.0.1");
    before = told();
  });
  for (const std::string fault : {"network.down", "network.mtu"}) {
    RunFault one{fault,
                 fault == "network.mtu" ? boost::json::object{{"mtu", 1300}} : boost::json::object{},
                 {{"interface", "sqb"}, {"pid", container.pid()}}};
    one.apply();
    there([&] { EXPECT_NE(told(), before); });
    EXPECT_TRUE(one->measure().verified) << one->measure().reason;
    EXPECT_EQ(one.undo(true), "");
    there([&] { EXPECT_EQ(told(), before); });
  }
}

TEST_F(Interface, what_would_cut_the_host_off_is_refused) {
  EXPECT_NE(refusal("network.down", {}, "lo").find("talks to itself"), std::string::npos);
  EXPECT_NE(refusal("network.mtu", {{"mtu", 1000}}, "sqa").find("IPv6"), std::string::npos);
  shell(
      "ip link add sqm link sqa type macvlan && ip -6 address flush dev sqa && ip link set sqm up && ip -6 "
      "address add fd66::1/64 dev sqm nodad");
  EXPECT_NE(refusal("network.mtu", {{"mtu", 1000}}, "sqa").find("sqm has IPv6"), std::string::npos);
  shell("ip address add 10.66.0.1/24 dev sqm && ip route add default via 10.66.0.2");
  EXPECT_NE(refusal("network.down", {}, "sqa").find("the default route goes through sqm"), std::string::npos);
  shell("ip link delete sqm");
  shell("ip route add default via 10.99.0.2");
  EXPECT_NE(refusal("network.down", {}, "sqa").find("default route"), std::string::npos);
  EXPECT_EQ(refusal("network.down", {{"allow_isolation", true}}, "sqa"), "");
}

}  // namespace
}  // namespace squall
