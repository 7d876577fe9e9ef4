// What every kind of inverse promises to the snapshot.
#include <set>

#include <gtest/gtest.h>

#include "injector/change/inverse.hpp"
#include "injector/faults/claims.hpp"
#include "injector/host/snapshot/snapshot.hpp"

namespace squall {
namespace {

// The first words of the lines that a snapshot may have; commands_that_show_differences knows each of them.
bool is_shown(std::string_view kind) {
  const HostState now{{std::string(kind) + " x of y", "z"}};
  return !commands_that_show_differences({}, now).empty();
}

TEST(UndoVerbs, say_what_the_snapshot_has_to_look_at) {
  for (auto* verb : undo_verbs()) {
    EXPECT_FALSE(verb->seen_in.empty()) << verb->name;
    for (auto kind : verb->seen_in)
      EXPECT_TRUE(is_shown(kind)) << verb->name << ": " << kind;
  }
}

TEST(UndoVerbs, name_settings_of_devices_that_the_snapshot_then_has) {
  const auto state = snapshot_host();
  for (auto* verb : undo_verbs())
    for (auto setting : verb->changes_along) {
      const auto at = setting.find('*');
      ASSERT_NE(at, setting.npos) << verb->name;
      EXPECT_TRUE(state.contains("sysctl " + std::string(setting.substr(0, at)) + "lo" +
                                 std::string(setting.substr(at + 1))))
          << verb->name << ": " << setting;
    }
}

TEST(Snapshot, takes_a_setting_that_came_with_its_device_for_no_difference_of_its_own) {
  const HostState before{{"link lo", "up"}},
      after{{"link lo", "up"}, {"link new0", "up"}, {"sysctl net/ipv6/conf/new0/mtu", "1500"}};
  EXPECT_EQ(differences(before, after).size(), 1u);
  EXPECT_EQ(differences({{"link lo", "up"}, {"sysctl net/ipv6/conf/lo/mtu", "1500"}}, before).size(), 1u)
      << "the device is still there";
}

TEST(Claims, of_two_network_namespaces_are_two_and_by_two_texts_one) {
  const Claims here{{"packets of eth0 out"}, 7}, there{{"packets of eth0 out"}, 8},
      from_outside{{"packets of eth0 out in the network namespace 8"}, 7};
  EXPECT_TRUE(clash(here, here));
  EXPECT_FALSE(clash(here, there));
  EXPECT_TRUE(clash(there, from_outside));
  EXPECT_FALSE(clash(here, from_outside));
  EXPECT_TRUE(clash(Claims{{"tcp connections to port 80 in the network namespace 8 with 10.0.0.0/8"}, 7},
                    Claims{{"tcp connections to port 80 with 10.1.0.0/16"}, 8}));
}

}  // namespace
}  // namespace squall
