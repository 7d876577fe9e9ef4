// network.delay on real packets, in network namespaces of the test's own.
#include <gtest/gtest.h>

#include "injector/host/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::ping;
using testing::RunFault;
using testing::UdpEcho;

constexpr std::uint16_t port = 7007, other_port = 7008;

// What the issue promises: within 5 % and 1 ms of the prescribed.
void expect_delay(double measured_ms, double base_ms, double prescribed_ms) {
  EXPECT_NEAR(measured_ms - base_ms, prescribed_ms, 0.05 * prescribed_ms + 1);
}

double delay_of(const Dose& dose) { return dose.measured.contains("delay_ms") ? dose.measured.at("delay_ms").as_double() : -1; }

class NetworkDelay : public ::testing::Test {
 protected:
  OwnNetwork network;
  std::unique_ptr<UdpEcho> far, far_other;

  void SetUp() override {
    network.at_the_other_end([&] {
      far = std::make_unique<UdpEcho>(port);
      far_other = std::make_unique<UdpEcho>(other_port);
    });
    far_base = ping("10.99.0.2", port, 50, 1000).median();
  }
  double far_base = 0;
};

TEST_F(NetworkDelay, out_delays_what_leaves_and_says_so) {
  RunFault fault{"network.delay", {{"delay", "20ms"}}, {{"interface", "sqa"}}};
  fault.apply();
  const auto pings = ping("10.99.0.2", port, 200, 2000);
  EXPECT_EQ(pings.lost(), 0U);
  EXPECT_EQ(pings.reordered, 0U);
  expect_delay(pings.median(), far_base, 20);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(dose.samples, 200U);
  EXPECT_NEAR(delay_of(dose), pings.median() - far_base, 1 + 0.05 * 20);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_LT(ping("10.99.0.2", port, 50, 1000).median(), 5);
}

TEST_F(NetworkDelay, in_delays_what_arrives) {
  RunFault fault{"network.delay", {{"delay", "20ms"}, {"direction", "in"}}, {{"interface", "sqa"}}};
  fault.apply();
  expect_delay(ping("10.99.0.2", port, 200, 2000).median(), far_base, 20);
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
}

TEST_F(NetworkDelay, both_delays_twice_in_a_round_trip) {
  RunFault fault{"network.delay", {{"delay", "20ms"}, {"direction", "both"}}, {{"interface", "sqa"}}};
  fault.apply();
  expect_delay(ping("10.99.0.2", port, 200, 2000).median(), far_base, 40);
}

TEST_F(NetworkDelay, on_lo_a_port_is_delayed_once_and_other_ports_are_not) {
  UdpEcho server{port}, other{other_port};
  const auto base = ping("127.0.0.1", port, 50, 1000).median();
  RunFault fault{"network.delay", {{"delay", "80ms"}, {"port", port}}, {{"interface", "lo"}}};
  fault.apply();
  expect_delay(ping("127.0.0.1", port, 100, 2000).median(), base, 80);
  expect_delay(ping("::1", port, 100, 2000).median(), base, 80);
  EXPECT_LT(ping("127.0.0.1", other_port, 100, 2000).median(), 10);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.samples, 200U);
}

TEST_F(NetworkDelay, undo_under_a_stream_loses_no_packet) {
  for (auto* direction : {"out", "in"}) {
    testing::Pings pings;
    std::thread stream{[&] { pings = ping("10.99.0.2", port, 3000, 500); }};
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    RunFault fault{"network.delay", {{"delay", "100ms"}, {"direction", direction}}, {{"interface", "sqa"}}};
    fault.apply();
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
    EXPECT_EQ(fault.undo(), "");
    stream.join();
    EXPECT_EQ(pings.lost(), 0U) << direction;
    EXPECT_GT(pings.quantile(0.9), 50) << "the stream was over before the fault: nothing was tested";
    const auto events = fault->events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].event, "packets.released");
  }
}

TEST_F(NetworkDelay, nothing_is_left_after_the_undo) {
  const auto before = snapshot_host();
  for (auto* on : {"sqa", "lo"}) {
    RunFault fault{"network.delay", {{"delay", "5ms"}, {"direction", "both"}}, {{"interface", on}}};
    fault.apply();
    EXPECT_FALSE(differences(before, snapshot_host()).empty());
    EXPECT_EQ(fault.undo(), "");
    EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
  }
}

}  // namespace
}  // namespace squall
