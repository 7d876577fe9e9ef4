// network.delay on real packets, in network namespaces of the test's own.
#include <algorithm>
#include <cmath>
#include <tuple>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/process.hpp"
#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::delay_of;
using testing::expect_delay;
using testing::ping;
using testing::put_clsact_there;
using testing::RunFault;
using testing::UdpEcho;

class NetworkDelay : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, NetworkDelay, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

// Netem takes a packet from whoever comes after it; which of the two takes it is not told here.
class UserlandDelay : public testing::NetworkDelayBy {};
INSTANTIATE_TEST_SUITE_P(By, UserlandDelay, ::testing::Values("userland"),
                         [](auto& info) { return std::string(info.param); });

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
      EXPECT_GE(median("10.99.0.2", port), 150) << direction << other_order;
      EXPECT_GE(median("10.99.0.2", other_port), 90);
      EXPECT_GE(median("fd99::2", port), 60);
      EXPECT_GE(by_port->measure().samples, 40U);
      EXPECT_GE(by_peer->measure().samples, 40U);
    }
}

TEST_P(NetworkDelay, out_delays_what_leaves_and_says_so) {
  auto fault = delay({{"delay", "20ms"}});
  fault.apply();
  double longest = 0;
  expect_delay(
      [&] {
        const auto pings = ping("10.99.0.2", port, 200, gap_us());
        EXPECT_EQ(pings.lost(), 0U);
        EXPECT_EQ(pings.reordered, 0U);
        longest = std::max(longest, pings.median());
        return pings.median();
      },
      far_base, 20);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(dose.samples, 200U);
  // Of all windows: it tells what was prescribed, or more, and no more than who waited saw.
  EXPECT_GE(delay_of(dose), 18);
  EXPECT_LE(delay_of(dose), longest - far_base.quickest_ms + 2);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_LT(undelayed_ms("10.99.0.2", port, 5), 5);
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
  const auto base = testing::Base::of(ping("127.0.0.1", port, 50, gap_us()));
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
  EXPECT_LT(undelayed_ms("127.0.0.1", other_port, 10), 10);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.samples, sent);
}

TEST_P(NetworkDelay, undo_under_a_stream_loses_no_packet) {
  if (kernel()) put_clsact_there();
  for (auto* direction : {"out", "in"}) {
    testing::Pings pings;
    std::thread stream{[&] {
      pings = kernel() ? ping("10.99.0.2", port, 200, 10'000) : ping("10.99.0.2", port, 3000, 500);
    }};
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
    std::thread stream{[&] {
      pings = kernel() ? ping("10.99.0.2", port, 600, 5'000) : ping("10.99.0.2", port, 20'000, 100);
    }};
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
      if (one.hit) {
        const auto pings = ping(one.address, one.to, 20, gap_us());
        EXPECT_EQ(pings.lost(), 0U);
        EXPECT_GT(pings.quantile(0), 25) << boost::json::serialize(with) << " and " << one.address;
      } else {
        EXPECT_LT(undelayed_ms(one.address, one.to), 15)
            << boost::json::serialize(with) << " and " << one.address;
      }
      const auto dose = fault->measure();
      if (one.hit)
        EXPECT_EQ(dose.samples, 20U) << boost::json::serialize(with) << dose.reason;
      else
        EXPECT_FALSE(dose.verified) << boost::json::serialize(with);
    }
  }
}

TEST_P(NetworkDelay, leaves_peers_alone_that_are_left_out) {
  auto fault = delay({{"delay", "30ms"}, {"except", {"fd99::/64", "10.99.0.128/25"}}});
  fault.apply();
  EXPECT_GT(ping("10.99.0.2", port, 30, gap_us()).median(), 25);
  EXPECT_LT(undelayed_ms("fd99::2", port), 15);
}

// Who wonders why nothing was hit is told what there was.
TEST_P(NetworkDelay, that_matched_nothing_says_what_went_by) {
  auto fault = delay({{"delay", "30ms"}, {"port", port + 50}});
  fault.apply();
  Dose dose;
  // It takes a while to be sure that nobody is hit.
  for (const auto until = monotonic_ns() + 10'000'000'000;
       monotonic_ns() < until && dose.reason.find("udp to port") == std::string::npos;) {
    ping("10.99.0.2", port, 10, 1'000, 100);
    dose = fault->measure();
  }
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find("; what passed sqa meanwhile: udp "), std::string::npos) << dose.reason;
}

TEST_P(NetworkDelay, icmp_alone) {
  auto fault = delay({{"delay", "40ms"}, {"protocol", "icmp"}});
  fault.apply();
  const auto said = testing::shell("ping -q -c 5 -i 0.05 10.99.0.2");
  const auto at = said.find("mdev = ");
  ASSERT_NE(at, std::string::npos) << said;
  EXPECT_GE(std::stod(said.substr(at + 7)), 39);
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
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
      for (auto [what, is, should_be, tolerance] :
           {std::tuple{"median", pings.median() - far_base.quickest_ms, 40.0, 3.0},
            {"lower end of the middle 68 %", pings.quantile(0.16) - pings.median(), 10 * one.low, 2.5},
            {"upper end of the middle 68 %", pings.quantile(0.84) - pings.median(), 10 * one.high, 2.5}})
        if (std::abs(is - should_be) > tolerance + 2 * late)
          wrong += fmt::format("{}: {} is {:.1f} ms instead of {:.1f}, timers are late by {:.1f}\n",
                               one.distribution, what, is, should_be, late);
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
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
  EXPECT_EQ(fault->measure().samples, 0U);
  EXPECT_EQ(fault->measure().reason, "still being ramped up");
  fault->set_level(0.5);
  expect_delay([this] { return far_median(); }, far_base, 30);
  fault->set_level(1);
  double longest = 0;
  expect_delay(
      [&] {
        const double median = far_median();
        longest = std::max(longest, median);
        return median;
      },
      far_base, 60);
  const auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(delay_of(dose),
            60 - 0.05 * 60 - (kernel() ? 4 : 1));  // a guest's emulated processor is late with its timers
  EXPECT_LE(delay_of(dose), longest - far_base.quickest_ms + 4) << "packets that came before count too";
}

TEST_P(NetworkDelay, traffic_that_goes_elsewhere_is_no_verified_dose) {
  auto fault = delay({{"delay", "20ms"}, {"port", other_port}});
  fault.apply();
  far_median();
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet matched: nothing was delayed");
}

TEST_P(NetworkDelay, says_where_mark_and_priority_are_lost) {
  for (auto* direction : {"out", "in"}) {
    const auto limits = delay({{"delay", "20ms"}, {"direction", direction}})->limits();
    const bool said = std::any_of(limits.begin(), limits.end(), [](auto& text) {
      return text.find("without the mark (fwmark) and the priority") != std::string::npos;
    });
    EXPECT_EQ(said, !kernel() && direction == std::string("out")) << direction;
  }
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
