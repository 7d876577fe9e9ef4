// network.delay of processes: who is hit, and who is not.
#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::expect_delay;
using testing::OwnGroup;
using testing::ping;
using testing::RunFault;
using testing::ServerProcess;
using testing::UdpEcho;

class ProcessDelay : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, ProcessDelay, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

auto echo_at(std::uint16_t port) {
  return [port] { return std::make_shared<UdpEcho>(port); };
}

TEST_P(ProcessDelay, of_one_process_does_not_touch_another) {
  if (kernel()) return;  // no filter of the kernel's knows processes: the userland queue is used
  const OwnGroup group;
  const ServerProcess one{echo_at(port), group.folder}, another{echo_at(other_port)};
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", one.pid()}}};
  fault.apply();
  EXPECT_GT(ping("127.0.0.1", port, 30, 1'000).median(), 25);
  EXPECT_LT(undelayed_ms("127.0.0.1", other_port), 15);
  EXPECT_EQ(fault->measure().samples, 30U);
}

TEST_P(ProcessDelay, of_a_process_that_came_back_outside_its_cgroup_is_no_verified_dose) {
  if (kernel()) return;
  const OwnGroup group;
  auto before = std::make_unique<ServerProcess>(echo_at(port), group.folder);
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", before->pid()}}};
  fault.apply();
  before.reset();
  const ServerProcess after{echo_at(port)};
  EXPECT_LT(undelayed_ms("127.0.0.1", port), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet matched: nothing was delayed");
}

TEST_P(ProcessDelay, of_a_service_that_was_started_anew_in_a_new_cgroup_is_no_verified_dose) {
  if (kernel()) return;
  auto group = std::make_unique<OwnGroup>();
  auto service = std::make_unique<ServerProcess>(echo_at(port), group->folder);
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", service->pid()}}};
  fault.apply();
  testing::ping_until_verified(fault, [] { ping("127.0.0.1", port, 30, 1'000); });
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
  service.reset();
  group.reset();
  EXPECT_TRUE(fault->measure().verified)
      << "it is gone, and was hit while it was there: " << fault->measure().reason;
  group = std::make_unique<OwnGroup>();
  service = std::make_unique<ServerProcess>(echo_at(port), group->folder);
  EXPECT_LT(undelayed_ms("127.0.0.1", port), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, group->folder + " was made anew: what was started in it since is not hit");
  service.reset();
}

bool says(const std::vector<std::string>& limits, std::string_view begin) {
  return std::any_of(limits.begin(), limits.end(), [&](auto& text) { return text.starts_with(begin); });
}

TEST_P(ProcessDelay, of_processes_alone_in_their_network_namespace_needs_no_cgroup) {
  constexpr std::uint16_t first = 7011, second = 7012;
  const auto there = [this](std::uint16_t number) {
    return [this, number] {
      network.go_to_the_other_end();
      return std::make_shared<UdpEcho>(number);
    };
  };
  auto one = std::make_unique<ServerProcess>(there(first));
  for (auto* direction : {"in", "out"}) {
    RunFault fault{"network.delay",
                   {{"delay", "30ms"}, {"direction", direction}, {"mechanism", GetParam()}},
                   {{"pid", one->pid()}}};
    EXPECT_TRUE(says(fault->limits(), "nobody else is in that network namespace"));
    fault.apply();
    expect_delay([&] { return ping("10.99.0.2", first, 30, gap_us()).median(); }, far_base, 30);
    EXPECT_GE(fault->measure().samples, 30U);
    EXPECT_EQ(fault.undo(), "");
    EXPECT_LT(undelayed_ms("10.99.0.2", first), 15);
  }
  if (kernel()) return;
  // Beside others there it is recognised by its cgroup.
  const OwnGroup group;
  const ServerProcess two{there(second), group.folder}, three{there(second + 1), group.folder};
  const boost::json::object in_the_group{{"cgroup", std::filesystem::path{group.folder}.filename().string()}};
  {
    RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, in_the_group};
    EXPECT_FALSE(says(fault->limits(), "nobody else"));
    fault.apply();
    EXPECT_GT(ping("10.99.0.2", second, 30, 1'000).quantile(0),
              29);  // none is quicker, however busy the machine
    EXPECT_LT(undelayed_ms("10.99.0.2", first), 15);
  }
  one.reset();
  EXPECT_TRUE(says(RunFault("network.delay", {{"delay", "30ms"}}, in_the_group)->limits(), "nobody else"));
  EXPECT_FALSE(
      says(RunFault("network.delay", {{"delay", "30ms"}}, {{"pid", two.pid()}})->limits(), "nobody else"));
}

}  // namespace
}  // namespace squall
