// network.delay by netem: what concerns it alone. Our own packet queue puts nothing behind clsact, and goes with its process.
#include <algorithm>

#include <gtest/gtest.h>

#include "injector/host/snapshot.hpp"
#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::put_clsact_there;
using testing::RunFault;

class NetemDelay : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, NetemDelay, ::testing::Values("kernel"), [](auto& info) { return std::string(info.param); });

TEST_P(NetemDelay, the_journal_alone_undoes_it) {
  const auto before = snapshot_host();
  auto fault = delay({{"delay", "20ms"}, {"direction", "both"}});
  fault.apply();
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_P(NetemDelay, what_others_put_behind_clsact_stays) {
  testing::shell("tc qdisc add dev sqa root handle 7: htb default 1 && tc class add dev sqa parent 7: classid 7:1 htb rate 1gbit && "
                 "tc qdisc add dev sqa parent 7:1 netem delay 3ms && tc qdisc add dev sqa clsact && "
                 "tc filter add dev sqa egress prio 7 matchall action continue && tc filter add dev sqa ingress prio 49152 matchall action continue");
  const auto tree = [] {
    return testing::shell("tc qdisc show dev sqa; tc class show dev sqa; tc filter show dev sqa egress; tc filter show dev sqa ingress");
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

// The kernel restarts a device's queue when clsact comes and when it goes, and drops what is in it: then ours is chosen.
TEST_P(NetemDelay, is_chosen_where_it_loses_nothing) {
  const auto mechanism = [] { return RunFault{"network.delay", {{"delay", "20ms"}}, {{"interface", "sqa"}}}->mechanism(); };
  EXPECT_EQ(mechanism().substr(0, 8), "userland");
  const auto asked = delay({{"delay", "20ms"}})->limits();
  EXPECT_TRUE(std::any_of(asked.begin(), asked.end(), [](auto& text) { return text.starts_with("adding clsact to sqa"); }));
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

}  // namespace
}  // namespace squall
