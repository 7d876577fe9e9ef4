// network.delay where devices come and go, ours and others', and where there are many.
#include <algorithm>
#include <chrono>
#include <set>

#include <net/if.h>

#include <gtest/gtest.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::ping;
using testing::RunFault;
using testing::ServerProcess;

class DelayDevices : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, DelayDevices, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(DelayDevices, packets_flow_again_where_somebody_removes_a_device_of_ours) {
  if (kernel()) return;
  auto fault = delay({{"delay", "20ms"}});
  fault.apply();
  EXPECT_EQ(ping("10.99.0.2", port, 20, 1'000).lost(), 0U);
  EXPECT_TRUE(fault->events().empty());
  testing::shell("ip link delete " + std::string(fault.inverses().front().with.at("name").as_string()));
  EXPECT_EQ(ping("10.99.0.2", port, 5, 1'000, 100).lost(), 5U) << "nothing is tested";
  const auto events = fault->events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].event, "fault.ineffective");
  EXPECT_EQ(ping("10.99.0.2", port, 20, 1'000).lost(), 0U);
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_TRUE(dose.reason.starts_with("somebody removed our device ") &&
              dose.reason.find("which was an outage of less than a second") != std::string::npos)
      << dose.reason;
  EXPECT_TRUE(fault->events().empty()) << "once";
  EXPECT_EQ(fault.undo(), "");
}

TEST_P(DelayDevices, of_a_device_that_vanishes_is_no_verified_dose) {
  const ServerProcess other_end{[this] {
    network.go_to_the_other_end();
    return std::make_shared<int>(0);
  }};
  for (auto* direction : {"out", "in", "both"}) {
    const auto make = [&] {
      testing::shell("ip link add sqc type veth peer name sqd && ip link set sqd netns " +
                     std::to_string(other_end.pid()) +
                     " && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up");
      network.at_the_other_end(
          [] { testing::shell("ip addr add 10.98.0.2/24 dev sqd && ip link set sqd up"); });
    };
    make();
    auto fault = delay({{"delay", "20ms"}, {"direction", direction}}, "sqc");
    fault.apply();
    testing::ping_until_verified(fault, [&] { ping("10.98.0.2", port, 30, gap_us()); });
    EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
    testing::shell("ip link delete sqc");
    auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << direction;
    EXPECT_TRUE(dose.reason.starts_with("sqc was found gone at ") &&
                dose.reason.find(" UTC: nothing was hit since") != std::string::npos)
        << dose.reason;
    const auto told = [&] {
      const auto events = fault->events();
      return std::count_if(events.begin(), events.end(),
                           [](auto& one) { return one.event == "fault.ineffective"; });
    };
    EXPECT_EQ(told(), 1);
    EXPECT_EQ(told(), 0) << "once";
    // Another one of its name is not what was meant, and loses nothing.
    make();
    ping("10.98.0.2", port, 1, 0, 3'000);  // until it knows its neighbour
    EXPECT_EQ(ping("10.98.0.2", port, 30, gap_us()).lost(), 0U) << direction;
    EXPECT_LT(undelayed_ms("10.98.0.2", port), 15) << direction;
    dose = fault->measure();
    EXPECT_FALSE(dose.verified) << direction;
    EXPECT_EQ(fault.undo(), "");
    EXPECT_FALSE(fault->measure().verified) << direction;
    testing::shell("ip link delete sqc");
  }
}

TEST_P(DelayDevices, of_any_loses_nothing_of_one_that_is_made_anew) {
  if (kernel()) return;
  const ServerProcess other_end{[this] {
    network.go_to_the_other_end();
    return std::make_shared<int>(0);
  }};
  const auto make = [&] {
    testing::shell("ip link add sqc type veth peer name sqd && ip link set sqd netns " +
                   std::to_string(other_end.pid()) +
                   " && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up");
    network.at_the_other_end(
        [] { testing::shell("ip addr add 10.98.0.2/24 dev sqd && ip link set sqd up"); });
  };
  make();
  auto fault = delay({{"delay", "20ms"}}, "any");
  fault.apply();
  EXPECT_EQ(ping("10.98.0.2", port, 30, gap_us()).lost(), 0U);
  testing::shell("ip link delete sqc");
  make();
  EXPECT_EQ(ping("10.98.0.2", port, 30, gap_us(), 3'000).lost(), 0U);
  EXPECT_EQ(ping("10.99.0.2", port, 30, gap_us()).lost(), 0U);
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
  EXPECT_EQ(fault.undo(), "");
}

// Each tap device takes the kernel tens of milliseconds to remove, and the injector answers nobody meanwhile.
TEST_P(DelayDevices, of_many_devices_comes_and_goes_quickly) {
  if (kernel()) return;
  auto undo_ms = [this] {
    auto fault = delay({{"delay", "5ms"}}, "any");
    fault.apply();
    // Names that the kernel would cut off would be taken for one another.
    std::set<std::string> names;
    for (auto& inverse : fault.inverses())
      if (inverse.verb == "link.delete")
        EXPECT_TRUE(names.insert(inverse.with.at("name").as_string().c_str()).second &&
                    names.rbegin()->size() < IFNAMSIZ);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(fault.undo(), "");
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  };
  testing::shell(
      "for i in $(seq 1 55); do ip link add many${i}a type veth peer name many${i}b; ip link set many${i}a "
      "up; ip link set many${i}b up; done");
  const auto before = snapshot_host();
  double quickest = 1e9;
  for (int i = 0; i < 3; ++i)
    quickest = std::min(quickest, undo_ms());
  EXPECT_LT(quickest, 1'000) << "the guardian takes 2 s of silence for a hang";
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

}  // namespace
}  // namespace squall
