// network.delay on real packets, in network namespaces of the test's own.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <tuple>

#include <net/if.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/snapshot.hpp"
#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

using testing::OwnGroup;
using testing::OwnNetwork;
using testing::ping;
using testing::RunFault;
using testing::ServerProcess;
using testing::UdpEcho;

// What is promised: within 5 % and 1 ms of the prescribed, on a machine whose own timers are not late.
bool as_prescribed(double measured_ms, double base_ms, double prescribed_ms, double late_ms = 0) {
  const double more = measured_ms - base_ms - prescribed_ms;
  return more >= -0.05 * prescribed_ms - 1 && more <= 0.05 * prescribed_ms + 1 + 2 * late_ms;
}

// A busy machine makes packets later, never earlier: one quiet window of a few is enough.
void expect_delay(const std::function<double()>& measure_ms, double base_ms, double prescribed_ms) {
  double measured = 0, late = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    testing::TimerLateness timers;
    measured = measure_ms();
    late = timers.most_ms();
    if (as_prescribed(measured, base_ms, prescribed_ms, late)) return;
  }
  ADD_FAILURE() << measured << " ms, " << base_ms << " ms without, prescribed are " << prescribed_ms << " ms; timers are late by " << late << " ms";
}

double delay_of(const Dose& dose) { return dose.measured.contains("delay_ms") ? dose.measured.at("delay_ms").as_double() : -1; }

class NetworkDelayBy : public testing::PacketsBy {
 protected:
  void SetUp() override {
    PacketsBy::SetUp();
    if (IsSkipped()) return;
    // A guest that has just booted is busy with itself.
    for (int attempt = 0; attempt < 10 && (attempt == 0 || far_base > 3); ++attempt) far_base = far_median();
  }
  RunFault delay(boost::json::object with, const char* on = "sqa") const { return fault("network.delay", std::move(with), on); }
  double far_median() const { return ping("10.99.0.2", port, 60, gap_us()).median(); }

  double far_base = 0;
};

class NetworkDelay : public NetworkDelayBy {};
// What concerns netem alone: the userland queue puts nothing behind clsact, and goes with its process.
class NetemDelay : public NetworkDelayBy {};

INSTANTIATE_TEST_SUITE_P(By, NetemDelay, ::testing::Values("kernel"), [](auto& info) { return std::string(info.param); });
INSTANTIATE_TEST_SUITE_P(By, NetworkDelay, ::testing::Values("kernel", "userland"), [](auto& info) { return std::string(info.param); });

// Netem takes a packet from whoever comes after it; which of the two takes it is not told here.
class UserlandDelay : public NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, UserlandDelay, ::testing::Values("userland"), [](auto& info) { return std::string(info.param); });

TEST_P(UserlandDelay, two_on_one_device_each_hit_what_they_mean) {
  for (auto* direction : {"out", "in"})
    for (bool other_order : {false, true}) {
      auto by_port = delay({{"delay", "60ms"}, {"port", {port}}, {"direction", direction}});
      auto by_peer = delay({{"delay", "90ms"}, {"to", {"10.99.0.2"}}, {"direction", direction}});
      (other_order ? by_peer : by_port).apply();
      (other_order ? by_port : by_peer).apply();
      const auto median = [&](const char* address, std::uint16_t to) {
        const auto pings = ping(address, to, 20, 1000);
        EXPECT_EQ(pings.lost(), 0U);
        return pings.median();
      };
      // A queue counts from the time stamp of the packet's arrival.
      EXPECT_GE(median("10.99.0.2", port), direction == std::string("out") ? 150 : 90) << direction << other_order;
      EXPECT_GE(median("10.99.0.2", other_port), 90);
      EXPECT_GE(median("fd99::2", port), 60);
      EXPECT_GE(by_port->measure().samples, 40U);
      EXPECT_GE(by_peer->measure().samples, 40U);
    }
}

TEST_P(NetworkDelay, out_delays_what_leaves_and_says_so) {
  auto fault = delay({{"delay", "20ms"}});
  fault.apply();
  testing::Pings pings;
  expect_delay(
      [&] {
        pings = ping("10.99.0.2", port, 200, gap_us());
        EXPECT_EQ(pings.lost(), 0U);
        EXPECT_EQ(pings.reordered, 0U);
        return pings.median();
      },
      far_base, 20);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(dose.samples, 200U);
  EXPECT_TRUE(as_prescribed(delay_of(dose), 0, pings.median() - far_base)) << delay_of(dose) << " ms, by pings " << pings.median() - far_base;
  EXPECT_EQ(fault.undo(), "");
  EXPECT_LT(far_median(), 5);
}

TEST_P(NetworkDelay, in_delays_what_arrives) {
  auto fault = delay({{"delay", "20ms"}, {"direction", "in"}});
  fault.apply();
  expect_delay([this] { return far_median(); }, far_base, 20);
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
}

TEST_P(NetworkDelay, both_delays_twice_in_a_round_trip) {
  auto fault = delay({{"delay", "20ms"}, {"direction", "both"}});
  fault.apply();
  expect_delay([this] { return far_median(); }, far_base, 40);
}

TEST_P(NetworkDelay, on_lo_a_port_is_delayed_once_and_other_ports_are_not) {
  UdpEcho server{port}, other{other_port};
  const auto base = ping("127.0.0.1", port, 50, gap_us()).median();
  auto fault = delay({{"delay", "80ms"}, {"port", port}}, "lo");
  fault.apply();
  unsigned sent = 0;
  for (auto* address : {"127.0.0.1", "::1"})
    expect_delay(
        [&] {
          sent += 100;
          return ping(address, port, 100, gap_us()).median();
        },
        base, 80);
  EXPECT_LT(ping("127.0.0.1", other_port, 100, gap_us()).median(), 10);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.samples, sent);
}

// Where clsact is on the device already, netem harms nobody either.
void put_clsact_there() { testing::shell("tc qdisc add dev sqa clsact"); }

TEST_P(NetworkDelay, undo_under_a_stream_loses_no_packet) {
  if (kernel()) put_clsact_there();
  for (auto* direction : {"out", "in"}) {
    testing::Pings pings;
    std::thread stream{[&] { pings = kernel() ? ping("10.99.0.2", port, 200, 10'000) : ping("10.99.0.2", port, 3000, 500); }};
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    auto fault = delay({{"delay", "100ms"}, {"direction", direction}});
    fault.apply();
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
    EXPECT_EQ(fault.undo(), "");
    stream.join();
    EXPECT_EQ(pings.lost(), 0U) << direction;
    EXPECT_GT(pings.quantile(0.9), 50) << "the stream was over before the fault: nothing was tested";
    const auto events = fault->events();
    if (kernel()) {
      EXPECT_TRUE(events.empty());
    } else {
      ASSERT_EQ(events.size(), 1U);
      EXPECT_EQ(events[0].event, "packets.released");
    }
  }
}

// 2,000 packets wait at the undo, and the other end's buffer takes some 280.
TEST_P(NetworkDelay, undo_does_not_flood_the_receiver) {
  if (kernel()) return;
  for (auto* direction : {"out", "in"}) {
    unsigned least = 100'000;
    // A busy machine lets the receiver wait: one quiet window of a few is enough.
    for (int attempt = 0; attempt < 4 && least > 0; ++attempt) {
      testing::Pings pings;
      std::thread stream{[&] { pings = ping("10.99.0.2", port, 7'500, 200); }};
      std::this_thread::sleep_for(std::chrono::milliseconds{200});
      auto fault = delay({{"delay", "400ms"}, {"direction", direction}});
      fault.apply();
      std::this_thread::sleep_for(std::chrono::milliseconds{700});
      EXPECT_EQ(fault.undo(), "");
      stream.join();
      EXPECT_GT(pings.quantile(0.6), 100) << "the stream was over before the fault: nothing was tested";
      least = std::min(least, pings.lost());
    }
    EXPECT_LT(least, 150U) << direction;
  }
}

TEST_P(NetworkDelay, of_zero_comes_and_goes_under_a_stream_without_losing_a_packet) {
  if (kernel()) put_clsact_there();
  for (auto* direction : {"out", "in"}) {
    testing::Pings pings;
    // 10,000 packets a second; a guest's emulated processor does not send so many.
    std::thread stream{[&] { pings = kernel() ? ping("10.99.0.2", port, 600, 5'000) : ping("10.99.0.2", port, 20'000, 100); }};
    for (int i = 0; i < 4; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds{150});
      auto fault = delay({{"delay", "0ms"}, {"direction", direction}});
      fault.apply();
      std::this_thread::sleep_for(std::chrono::milliseconds{250});
      const auto dose = fault->measure();
      EXPECT_GT(dose.samples, kernel() ? 10U : 100U) << "no stream went through it: nothing is tested";
      EXPECT_EQ(fault.undo(), "");
    }
    stream.join();
    EXPECT_EQ(pings.lost(), 0U) << direction;
  }
}

TEST_P(NetworkDelay, aims_by_peer_port_and_protocol) {
  struct Case {
    boost::json::object with;
    const char* address;
    std::uint16_t to;
    bool hit;
  };
  for (auto& one : std::vector<Case>{{{{"to", {"10.99.0.0/24"}}}, "10.99.0.2", port, true},
                                     {{{"to", {"10.99.0.2"}}}, "10.99.0.2", port, true},
                                     {{{"to", {"10.99.0.3", "10.98.0.0/16"}}}, "10.99.0.2", port, false},
                                     {{{"to", {"fd99::/64"}}}, "fd99::2", port, true},
                                     {{{"to", {"fd99::/64"}}}, "10.99.0.2", port, false},
                                     {{{"to", {"fd99::2:0/112"}}}, "fd99::2", port, false},
                                     {{{"port", {port}}}, "10.99.0.2", port, true},
                                     {{{"port", {port, 9}}}, "fd99::2", port, true},
                                     {{{"port", {port}}}, "10.99.0.2", other_port, false},
                                     {{{"protocol", "udp"}}, "10.99.0.2", port, true},
                                     {{{"protocol", "udp"}}, "fd99::2", port, true},
                                     {{{"protocol", "tcp"}}, "10.99.0.2", port, false},
                                     {{{"protocol", "icmp"}}, "10.99.0.2", port, false}}) {
    for (auto* direction : {"out", "in"}) {
      auto with = one.with;
      with["delay"] = "30ms";
      with["direction"] = direction;
      auto fault = delay(with);
      fault.apply();
      const auto pings = ping(one.address, one.to, 20, gap_us());
      EXPECT_EQ(pings.lost(), 0U);
      EXPECT_EQ(pings.median() > 25, one.hit) << boost::json::serialize(with) << " and " << one.address << " took " << pings.median() << " ms";
      const auto dose = fault->measure();
      if (one.hit)
        EXPECT_EQ(dose.samples, 20U) << boost::json::serialize(with) << dose.reason;
      else
        EXPECT_FALSE(dose.verified) << boost::json::serialize(with);
    }
  }
}

TEST_P(NetworkDelay, icmp_alone) {
  auto fault = delay({{"delay", "40ms"}, {"protocol", "icmp"}});
  fault.apply();
  const auto said = testing::shell("ping -q -c 5 -i 0.05 10.99.0.2");
  const auto at = said.find("mdev = ");
  ASSERT_NE(at, std::string::npos) << said;
  EXPECT_GE(std::stod(said.substr(at + 7)), 39);
  EXPECT_LT(far_median(), 15);
}

TEST_P(NetworkDelay, jitter_has_the_asked_distribution) {
  struct Case {
    const char* distribution;
    double low, high;  // of the middle 68 %, in jitters
  };
  for (auto one : {Case{"uniform", -0.68, 0.68}, Case{"normal", -1, 1}}) {
    auto fault = delay({{"delay", "40ms"}, {"jitter", "10ms"}, {"distribution", one.distribution}});
    fault.apply();
    testing::Pings pings;
    std::string wrong;
    double late = 0;
    for (int attempt = 0; attempt < 4 && (attempt == 0 || !wrong.empty()); ++attempt) {
      testing::TimerLateness timers;
      pings = ping("10.99.0.2", port, kernel() ? 400 : 1500, gap_us());
      late = timers.most_ms();
      EXPECT_EQ(pings.lost(), 0U);
      wrong.clear();
      for (auto [what, is, should_be, tolerance] : {std::tuple{"median", pings.median() - far_base, 40.0, 3.0},
                                                    {"lower end of the middle 68 %", pings.quantile(0.16) - pings.median(), 10 * one.low, 2.5},
                                                    {"upper end of the middle 68 %", pings.quantile(0.84) - pings.median(), 10 * one.high, 2.5}})
        if (std::abs(is - should_be) > tolerance + 2 * late) wrong += fmt::format("{}: {} is {:.1f} ms instead of {:.1f}, timers are late by {:.1f}\n", one.distribution, what, is, should_be, late);
    }
    EXPECT_EQ(wrong, "");
    EXPECT_GT(pings.reordered, 20U) << "jitter of more than the gap between packets reorders them";
    const auto dose = fault->measure();
    EXPECT_TRUE(dose.verified || late > 1) << dose.reason;
    const double spread = dose.measured.at("spread_ms").as_double();
    EXPECT_NEAR(spread, dose.prescribed.at("spread_ms").as_double(), 2.5 + 2 * late) << one.distribution;
    EXPECT_NEAR(dose.prescribed.at("spread_ms").as_double(), 10 * one.high, 0.1);
  }
}

TEST_P(NetworkDelay, a_ramp_delays_ever_more_and_counts_the_full_dose_only) {
  auto fault = delay({{"delay", "60ms"}});
  fault->set_level(0);
  fault.apply();
  EXPECT_LT(far_median(), 15);
  EXPECT_EQ(fault->measure().samples, 0U);
  EXPECT_EQ(fault->measure().reason, "still being ramped up");
  fault->set_level(0.5);
  expect_delay([this] { return far_median(); }, far_base, 30);
  fault->set_level(1);
  expect_delay([this] { return far_median(); }, far_base, 60);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(delay_of(dose), 60, 0.05 * 60 + (kernel() ? 4 : 1));  // a guest's emulated processor is late with its timers
}

TEST_P(NetworkDelay, traffic_that_goes_elsewhere_is_no_verified_dose) {
  auto fault = delay({{"delay", "20ms"}, {"port", other_port}});
  fault.apply();
  far_median();
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet matched: nothing was delayed");
}

auto echo_at(std::uint16_t port) {
  return [port] { return std::make_shared<UdpEcho>(port); };
}

TEST_P(NetworkDelay, of_one_process_does_not_touch_another) {
  if (kernel()) return;  // no filter of the kernel's knows processes: the userland queue is used
  const OwnGroup group;
  const ServerProcess one{echo_at(port), group.folder}, another{echo_at(other_port)};
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", one.pid()}}};
  fault.apply();
  EXPECT_GT(ping("127.0.0.1", port, 30, 1'000).median(), 25);
  EXPECT_LT(ping("127.0.0.1", other_port, 30, 1'000).median(), 15);
  EXPECT_EQ(fault->measure().samples, 30U);
}

TEST_P(NetworkDelay, of_a_process_that_came_back_outside_its_cgroup_is_no_verified_dose) {
  if (kernel()) return;
  const OwnGroup group;
  auto before = std::make_unique<ServerProcess>(echo_at(port), group.folder);
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", before->pid()}}};
  fault.apply();
  before.reset();
  const ServerProcess after{echo_at(port)};
  EXPECT_LT(ping("127.0.0.1", port, 30, 1'000).median(), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet matched: nothing was delayed");
}

TEST_P(NetworkDelay, of_a_service_that_was_started_anew_in_a_new_cgroup_is_no_verified_dose) {
  if (kernel()) return;
  auto group = std::make_unique<OwnGroup>();
  auto service = std::make_unique<ServerProcess>(echo_at(port), group->folder);
  RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", "in"}}, {{"pid", service->pid()}}};
  fault.apply();
  ping("127.0.0.1", port, 30, 1'000);
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
  service.reset();
  group.reset();
  EXPECT_TRUE(fault->measure().verified) << "it is gone, and was hit while it was there: " << fault->measure().reason;
  group = std::make_unique<OwnGroup>();
  service = std::make_unique<ServerProcess>(echo_at(port), group->folder);
  EXPECT_LT(ping("127.0.0.1", port, 30, 1'000).median(), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, group->folder + " was made anew: what was started in it since is not hit");
  service.reset();
}

bool says(const std::vector<std::string>& limits, std::string_view begin) {
  return std::any_of(limits.begin(), limits.end(), [&](auto& text) { return text.starts_with(begin); });
}

TEST_P(NetworkDelay, of_processes_alone_in_their_network_namespace_needs_no_cgroup) {
  constexpr std::uint16_t first = 7011, second = 7012;
  const auto there = [this](std::uint16_t number) {
    return [this, number] {
      network.go_to_the_other_end();
      return std::make_shared<UdpEcho>(number);
    };
  };
  auto one = std::make_unique<ServerProcess>(there(first));
  for (auto* direction : {"in", "out"}) {
    RunFault fault{"network.delay", {{"delay", "30ms"}, {"direction", direction}, {"mechanism", GetParam()}}, {{"pid", one->pid()}}};
    EXPECT_TRUE(says(fault->limits(), "nobody else is in that network namespace"));
    fault.apply();
    expect_delay([&] { return ping("10.99.0.2", first, 30, gap_us()).median(); }, far_base, 30);
    EXPECT_GE(fault->measure().samples, 30U);
    EXPECT_EQ(fault.undo(), "");
    EXPECT_LT(ping("10.99.0.2", first, 30, gap_us()).quantile(0), 25);
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
    // Of those that are hit none is quicker, of others the quickest is, however busy the machine.
    EXPECT_GT(ping("10.99.0.2", second, 30, 1'000).quantile(0), 29);
    EXPECT_LT(ping("10.99.0.2", first, 30, 1'000).quantile(0), 29);
  }
  one.reset();
  EXPECT_TRUE(says(RunFault("network.delay", {{"delay", "30ms"}}, in_the_group)->limits(), "nobody else"));
  EXPECT_FALSE(says(RunFault("network.delay", {{"delay", "30ms"}}, {{"pid", two.pid()}})->limits(), "nobody else"));
}

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
  const auto base = far_median();
  {
    auto fault = delay({{"delay", "30ms"}, {"direction", "both"}});
    fault.apply();
    EXPECT_NEAR(far_median() - base, 60, 5);
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
  EXPECT_LT(far_median(), 15);
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

TEST_P(NetworkDelay, says_where_mark_and_priority_are_lost) {
  for (auto* direction : {"out", "in"}) {
    const auto limits = delay({{"delay", "20ms"}, {"direction", direction}})->limits();
    const bool said = std::any_of(limits.begin(), limits.end(), [](auto& text) { return text.find("without the mark (fwmark) and the priority") != std::string::npos; });
    EXPECT_EQ(said, !kernel() && direction == std::string("out")) << direction;
  }
}

TEST_P(NetworkDelay, packets_flow_again_where_somebody_removes_a_device_of_ours) {
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
  EXPECT_LT(far_median(), 15);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_TRUE(dose.reason.starts_with("somebody removed our device ") && dose.reason.ends_with(", and what was led to it is lost; packets pass as they are since")) << dose.reason;
  EXPECT_TRUE(fault->events().empty()) << "once";
  EXPECT_EQ(fault.undo(), "");
}

TEST_P(NetworkDelay, of_a_device_that_vanishes_is_no_verified_dose) {
  const ServerProcess other_end{[this] {
    network.go_to_the_other_end();
    return std::make_shared<int>(0);
  }};
  for (auto* direction : {"out", "in", "both"}) {
    const auto make = [&] {
      testing::shell("ip link add sqc type veth peer name sqd && ip link set sqd netns " + std::to_string(other_end.pid()) + " && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up");
      network.at_the_other_end([] { testing::shell("ip addr add 10.98.0.2/24 dev sqd && ip link set sqd up"); });
    };
    make();
    auto fault = delay({{"delay", "20ms"}, {"direction", direction}}, "sqc");
    fault.apply();
    ping("10.98.0.2", port, 30, gap_us());
    EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
    testing::shell("ip link delete sqc");
    auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << direction;
    EXPECT_TRUE(dose.reason.starts_with("sqc was found gone at ") && dose.reason.ends_with(" UTC: nothing was hit since")) << dose.reason;
    const auto told = [&] {
      const auto events = fault->events();
      return std::count_if(events.begin(), events.end(), [](auto& one) { return one.event == "fault.ineffective"; });
    };
    EXPECT_EQ(told(), 1);
    EXPECT_EQ(told(), 0) << "once";
    // Another one of its name is not what was meant, and loses nothing.
    make();
    ping("10.98.0.2", port, 1, 0, 3'000);  // until it knows its neighbour
    const auto pings = ping("10.98.0.2", port, 30, gap_us());
    EXPECT_EQ(pings.lost(), 0U) << direction;
    EXPECT_LT(pings.median(), 15) << direction;
    dose = fault->measure();
    EXPECT_FALSE(dose.verified) << direction;
    EXPECT_EQ(fault.undo(), "");
    EXPECT_FALSE(fault->measure().verified) << direction;
    testing::shell("ip link delete sqc");
  }
}

TEST_P(UserlandDelay, of_any_device_loses_nothing_of_one_that_is_made_anew) {
  const ServerProcess other_end{[this] {
    network.go_to_the_other_end();
    return std::make_shared<int>(0);
  }};
  const auto make = [&] {
    testing::shell("ip link add sqc type veth peer name sqd && ip link set sqd netns " + std::to_string(other_end.pid()) + " && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up");
    network.at_the_other_end([] { testing::shell("ip addr add 10.98.0.2/24 dev sqd && ip link set sqd up"); });
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
TEST_P(NetworkDelay, of_many_devices_comes_and_goes_quickly) {
  if (kernel()) return;
  auto undo_ms = [this] {
    auto fault = delay({{"delay", "5ms"}}, "any");
    fault.apply();
    // Names that the kernel would cut off would be taken for one another.
    std::set<std::string> names;
    for (auto& inverse : fault.inverses())
      if (inverse.verb == "link.delete") EXPECT_TRUE(names.insert(inverse.with.at("name").as_string().c_str()).second && names.rbegin()->size() < IFNAMSIZ);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(fault.undo(), "");
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  };
  testing::shell("for i in $(seq 1 55); do ip link add many${i}a type veth peer name many${i}b; ip link set many${i}a up; ip link set many${i}b up; done");
  const auto before = snapshot_host();
  double quickest = 1e9;
  for (int i = 0; i < 3; ++i) quickest = std::min(quickest, undo_ms());
  EXPECT_LT(quickest, 1'000) << "the guardian takes 2 s of silence for a hang";
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_P(NetworkDelay, nothing_is_left_after_the_undo) {
  const auto before = snapshot_host();
  for (auto* on : {"sqa", "lo"}) {
    auto fault = delay({{"delay", "5ms"}, {"direction", "both"}}, on);
    fault.apply();
    EXPECT_FALSE(differences(before, snapshot_host()).empty());
    EXPECT_EQ(fault.undo(), "");
    EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
  }
}

}  // namespace
}  // namespace squall
