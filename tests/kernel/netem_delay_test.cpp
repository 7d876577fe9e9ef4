// network.delay by netem: what concerns it alone. Our own packet queue puts nothing behind clsact, and goes
// with its process.
#include <algorithm>

#include <gtest/gtest.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::put_clsact_there;
using testing::RunFault;

class NetemDelay : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, NetemDelay, ::testing::Values("kernel"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(NetemDelay, the_journal_alone_undoes_it) {
  const auto before = snapshot_host();
  auto fault = delay({{"delay", "20ms"}, {"direction", "both"}});
  fault.apply();
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_P(NetemDelay, what_others_put_behind_clsact_stays) {
  testing::shell(
      "tc qdisc add dev sqa root handle 7: htb default 1 && tc class add dev sqa parent 7: classid 7:1 htb "
      "rate 1gbit && "
      "tc qdisc add dev sqa parent 7:1 netem delay 3ms && tc qdisc add dev sqa clsact && "
      "tc filter add dev sqa egress prio 7 matchall action continue && tc filter add dev sqa ingress prio "
      "49152 matchall action continue");
  const auto tree = [] {
    return testing::shell(
        "tc qdisc show dev sqa; tc class show dev sqa; tc filter show dev sqa egress; tc filter show dev sqa "
        "ingress");
  };
  const auto before = tree();
  const auto snapshot = snapshot_host();
  const auto base = testing::Base::of(far_pings());
  {
    auto fault = delay({{"delay", "30ms"}, {"direction", "both"}});
    fault.apply();
    testing::expect_delay([this] { return far_median(); }, base, 60);
    EXPECT_EQ(fault.undo(), "");
  }
  EXPECT_EQ(tree(), before);
  EXPECT_EQ(differences(snapshot, snapshot_host()), std::vector<std::string>{});
}

// The kernel restarts a device's queue when clsact comes and when it goes, and drops what is in it: then ours
// is chosen.
TEST_P(NetemDelay, is_chosen_where_it_loses_nothing) {
  const auto mechanism = [] {
    return RunFault {
      "network.delay", {{"delay", "20ms"}}, {{"interface", "sqa"}}
    } -> mechanism();
  };
  EXPECT_EQ(mechanism().substr(0, 8), "userland");
  const auto asked = delay({{"delay", "20ms"}})->limits();
  EXPECT_TRUE(std::any_of(asked.begin(), asked.end(),
                          [](auto& text) { return text.starts_with("adding clsact to sqa"); }));
  put_clsact_there();
  EXPECT_EQ(mechanism().substr(0, 5), "netem");
  testing::shell("tc filter add dev sqa egress prio 1 matchall action pass");
  EXPECT_EQ(mechanism().substr(0, 8), "userland") << "somebody else decides before our filter would";
}

TEST_P(NetemDelay, a_filter_before_ours_that_ends_it_shows_in_the_dose) {
  testing::shell("tc qdisc add dev sqa clsact && tc filter add dev sqa egress prio 1 matchall action pass");
  auto fault = delay({{"delay", "30ms"}});
  fault.apply();
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet matched: nothing was delayed");
}

TEST_P(NetemDelay, filters_that_others_add_meanwhile_are_not_taken_away) {
  auto fault = delay({{"delay", "5ms"}});
  fault.apply();
  testing::shell("tc filter add dev sqa egress prio 9 matchall action continue");
  EXPECT_EQ(fault.undo(), "clsact stays on sqa: others have put filters there since\n");
  EXPECT_NE(testing::shell("tc filter show dev sqa egress").find("pref 9"), std::string::npos);
}

// The name is somebody's choice, its number is not.
TEST_P(NetemDelay, goes_from_a_device_that_has_another_name_by_then) {
  for (const bool from_the_journal : {false, true}) {
    auto fault = delay({{"delay", "20ms"}, {"direction", "both"}});
    fault.apply();
    testing::shell("ip link set sqa down && ip link set sqa name sqx && ip link set sqx up");
    EXPECT_EQ(fault.undo(from_the_journal), "");
    EXPECT_EQ(testing::shell("tc qdisc show dev sqx clsact; tc filter show dev sqx egress; tc filter show "
                             "dev sqx ingress; ip -o link show type ifb"),
              "");
    EXPECT_EQ(testing::ping("10.99.0.2", port, 20, gap_us()).lost(), 0u)
        << "packets are led to a device that is gone";
    testing::shell("ip link set sqx down && ip link set sqx name sqa && ip link set sqa up");
  }
}

TEST_P(NetemDelay, takes_its_ifb_away_though_somebody_has_renamed_it) {
  auto fault = delay({{"delay", "20ms"}});
  fault.apply();
  testing::shell(
      "for one in $(ip -o link show type ifb | sed 's/^[0-9]*: \\([^:]*\\):.*/\\1/'); do ip link set $one "
      "down; ip link set $one name x$one; ip link set x$one up; done");
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_EQ(testing::shell("ip -o link show type ifb"), "");
}

// What is led to a device that is gone is lost for good.
TEST_P(NetemDelay, keeps_its_ifb_while_a_filter_leads_packets_there) {
  auto fault = delay({{"delay", "20ms"}});
  fault.apply();
  auto inverses = fault.inverses();
  std::string told;
  for (auto inverse = inverses.rbegin(); inverse != inverses.rend(); ++inverse)
    if (inverse->verb == "ifb.delete") {
      const auto undone = find_undo_verb(inverse->verb)->carry_out(inverse->with);
      EXPECT_EQ(undone.outcome, UndoOutcome::failed);
      told += undone.detail + "\n" + undone.by_hand + "\n";
    }
  EXPECT_NE(told.find("a filter leads some there, egress of sqa"), std::string::npos) << told;
  EXPECT_EQ(testing::ping("10.99.0.2", port, 20, gap_us()).lost(), 0u);
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15) << "they pass as they are";
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_EQ(testing::shell("ip -o link show type ifb"), "");
}

// Somebody took clsact away and put his own there, with a filter where ours was.
TEST_P(NetemDelay, touches_and_advises_nothing_of_somebody_elses_in_the_place_of_ours) {
  auto fault = delay({{"delay", "5ms"}});
  fault.apply();
  const auto priority =
      testing::shell("tc filter show dev sqa egress | sed -n 's/.* pref \\([0-9]*\\) .*/\\1/p' | head -n 1");
  testing::shell(
      "tc qdisc del dev sqa clsact && tc qdisc add dev sqa clsact && tc filter add dev sqa egress prio " +
      priority.substr(0, priority.find('\n')) + " matchall action continue");
  const auto inverses = fault.inverses();
  for (auto inverse = inverses.rbegin(); inverse != inverses.rend(); ++inverse) {
    const auto undone = find_undo_verb(inverse->verb)->carry_out(inverse->with);
    EXPECT_EQ(undone.by_hand.find("tc qdisc del"), std::string::npos) << undone.by_hand;
    EXPECT_EQ(undone.by_hand.find("tc filter del"), std::string::npos) << undone.by_hand;
  }
  fault.undo(true);
  EXPECT_NE(testing::shell("tc filter show dev sqa egress").find("matchall"), std::string::npos);
}

}  // namespace
}  // namespace squall
