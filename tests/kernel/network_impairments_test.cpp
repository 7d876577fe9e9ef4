// Loss, repetition, corruption, overtaking and thin lines on real packets, in network namespaces of the
// test's own.
#include <cmath>

#include <fmt/format.h>

#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

using testing::ping;
using testing::Pings;
using testing::UdpEcho;

double measured(const Dose& dose, const char* what) {
  return dose.measured.contains(what) ? dose.measured.at(what).to_number<double>() : -1;
}

class NetworkImpairments : public testing::PacketsBy {
 protected:
  unsigned many() const { return kernel() ? 600 : 4000; }
  Pings pings() const { return ping("10.99.0.2", port, many(), kernel() ? 5'000 : 200, 300); }
  // What came back of what was sent, beside what should have: 5 deviations wide.
  void expect_share(unsigned some, double share, double clumping = 1) const {
    const double all = many();
    EXPECT_NEAR(some / all, share, 5 * std::sqrt(share * (1 - share) * clumping / all))
        << some << " of " << all;
  }
};

INSTANTIATE_TEST_SUITE_P(By, NetworkImpairments, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(NetworkImpairments, loss_loses_the_asked_share_and_says_so) {
  for (auto* direction : {"out", "in"}) {
    auto lossy = fault("network.loss", {{"loss", "20%"}, {"protocol", "udp"}, {"direction", direction}});
    lossy.apply();
    expect_share(pings().lost(), 0.2);
    const auto dose = lossy->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(dose.samples, many());
    EXPECT_EQ(dose.prescribed.at("loss_percent").as_double(), 20);
    EXPECT_NEAR(measured(dose, "loss_percent"), 20, 500 * std::sqrt(0.16 / many())) << direction;
    EXPECT_EQ(lossy.undo(), "");
    EXPECT_EQ(pings().lost(), 0U);
  }
}

TEST_P(NetworkImpairments, a_loss_of_all_is_a_loss_of_all) {
  auto lossy = fault("network.loss", {{"loss", "100%"}});
  lossy.apply();
  EXPECT_EQ(ping("10.99.0.2", port, 50, 1'000, 200).lost(), 50U);
  EXPECT_EQ(ping("fd99::2", port, 50, 1'000, 200).lost(), 50U);
  const auto dose = lossy->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(measured(dose, "loss_percent"), 100);
}

TEST_P(NetworkImpairments, each_model_loses_what_it_says) {
  struct Case {
    boost::json::object with;
    double share, burst;
  };
  for (auto& one : std::vector<Case>{
           {{{"loss", "20%"}, {"loss_burst", 5}}, 0.2, 5},
           {{{"loss", "30%"}, {"loss_correlation", "50%"}}, 0.3, 1 / 0.35},
           {{{"gilbert_elliott",
              {{"worsens", "5%"}, {"recovers", "20%"}, {"when_bad", "75%"}, {"when_good", "2%"}}}},
            0.166,
            2.228},
           {{{"markov", {{"p13", "10%"}, {"p31", "30%"}, {"p32", "20%"}, {"p23", "40%"}, {"p14", "2%"}}}},
            0.2273,
            1.83}}) {
    auto lossy = fault("network.loss", one.with);
    lossy.apply();
    expect_share(pings().lost(), one.share, 2 * one.burst);
    const auto dose = lossy->measure();
    EXPECT_TRUE(dose.verified) << boost::json::serialize(one.with) << dose.reason;
    EXPECT_NEAR(dose.prescribed.at("loss_percent").as_double(), 100 * one.share, 1);
    if (kernel()) continue;  // netem counts what it loses, not in how many runs
    EXPECT_NEAR(dose.prescribed.at("loss_burst_packets").as_double(), one.burst, 0.05 * one.burst)
        << boost::json::serialize(one.with);
    EXPECT_NEAR(measured(dose, "loss_burst_packets"), one.burst, 0.25 * one.burst)
        << boost::json::serialize(one.with);
  }
}

TEST_P(NetworkImpairments, every_tenth_is_every_tenth) {
  if (kernel()) {
    EXPECT_THROW(fault("network.loss", {{"every", 10}, {"protocol", "udp"}}), std::runtime_error);
    return;
  }
  auto lossy = fault("network.loss", {{"every", 10}, {"protocol", "udp"}});
  lossy.apply();
  EXPECT_EQ(pings().lost(), many() / 10);
  EXPECT_TRUE(lossy->measure().verified) << lossy->measure().reason;
}

TEST_P(NetworkImpairments, every_second_in_both_directions_is_counted_in_each) {
  if (kernel()) return;
  auto lossy = fault("network.loss", {{"every", 2}, {"protocol", "udp"}, {"direction", "both"}});
  lossy.apply();
  EXPECT_EQ(ping("10.99.0.2", port, 400, 1'000, 300).lost(), 300U)
      << "half of the requests, and half of their answers";
  const auto dose = lossy->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.samples, 600U);
  EXPECT_EQ(measured(dose, "loss_percent"), 50);
}

TEST_P(NetworkImpairments, a_direction_that_nothing_went_in_is_told) {
  const auto silent_port = static_cast<std::uint16_t>(port + 100);  // refused by icmp
  auto lossy = fault("network.loss", {{"loss", "50%"}, {"protocol", "udp"}, {"direction", "both"}});
  lossy.apply();
  ping("10.99.0.2", silent_port, 200, 1'000, 200);
  const auto dose = lossy->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "direction in: no packet matched: none was hit");
}

TEST_P(NetworkImpairments, on_lo_a_port_tells_the_directions_apart) {
  UdpEcho server{port};
  auto lossy = fault("network.loss", {{"loss", "50%"}, {"direction", "both"}, {"port", port}}, "lo");
  lossy.apply();
  expect_share(ping("127.0.0.1", port, many(), kernel() ? 5'000 : 200, 300).lost(), 0.75);
  const auto dose = lossy->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(static_cast<double>(dose.samples), 1.5 * many(), 0.1 * many());
  EXPECT_EQ(lossy.undo(), "");
  auto any = fault("network.loss", {{"loss", "50%"}, {"direction", "both"}, {"protocol", "udp"}}, "lo");
  any.apply();
  expect_share(ping("127.0.0.1", port, many(), kernel() ? 5'000 : 200, 300).lost(), 0.75);
  EXPECT_TRUE(any->measure().verified) << any->measure().reason;
}

TEST_P(NetworkImpairments, repeated_packets_come_twice) {
  for (auto* direction : {"out", "in"})
    for (auto* address : {"10.99.0.2", "fd99::2"}) {
      auto twice = fault("network.duplicate", {{"duplicate", "30%"}, {"direction", direction}});
      twice.apply();
      const auto seen = ping(address, port, many() / 2, kernel() ? 5'000 : 300, 300);
      EXPECT_EQ(seen.lost(), 0U);
      EXPECT_NEAR(seen.duplicates / (many() / 2.0), 0.3, 5 * std::sqrt(0.21 / (many() / 2.0)))
          << direction << " " << address;
      const auto dose = twice->measure();
      EXPECT_TRUE(dose.verified) << direction << ": " << dose.reason;
      EXPECT_EQ(twice.undo(), "");
    }
}

TEST_P(NetworkImpairments, corrupted_packets_do_not_pass_their_checksums) {
  for (auto* direction : {"out", "in"}) {
    auto broken = fault("network.corrupt", {{"corrupt", "30%"}, {"direction", direction}});
    broken.apply();
    const auto seen = pings();
    // Some bits are in no checksum: of the link header, or the time to live, which the way would have
    // changed.
    EXPECT_GT(seen.lost(), many() / 5) << direction;
    EXPECT_LT(seen.lost(), many() * 2 / 5) << direction;
    std::this_thread::sleep_for(std::chrono::milliseconds{kernel() ? 600 : 0});
    const auto dose = broken->measure();
    EXPECT_TRUE(dose.verified) << direction << ": " << dose.reason;
    EXPECT_EQ(broken.undo(), "");
    EXPECT_EQ(pings().lost(), 0U);
  }
}

TEST_P(NetworkImpairments, some_packets_overtake_those_that_are_delayed) {
  auto mixed = fault("network.reorder", {{"reorder", "25%"}, {"delay", "40ms"}});
  mixed.apply();
  // A busy machine makes packets later: one quiet window of a few is enough.
  Pings seen;
  for (int attempt = 0; attempt < 4 && (attempt == 0 || seen.quantile(0.1) >= 20); ++attempt) {
    seen = pings();
    EXPECT_EQ(seen.lost(), 0U);
  }
  EXPECT_GT(seen.reordered, many() / 8);
  EXPECT_GT(seen.quantile(0.9), 39);
  EXPECT_LT(seen.quantile(0.1), 20);
  const auto dose = mixed->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(measured(dose, "delay_ms"), 40, kernel() ? 6 : 3);
}

TEST_P(NetworkImpairments, a_thin_line_lets_no_more_through) {
  for (auto [device, address] : {std::pair{"sqa", "10.99.0.2"}, std::pair{"lo", "127.0.0.1"}}) {
    // A busy machine sends less than the line lets through, and the dose says so: one quiet window of three
    // is enough.
    Dose dose;
    for (int attempt = 0; attempt < 3 && !dose.verified; ++attempt) {
      auto thin =
          fault("network.rate", {{"rate", "8mbit"}, {"queue", "256KiB"}, {"protocol", "tcp"}}, device);
      thin.apply();
      // Measured in between too: the kernel's counters are looked at again and again.
      std::atomic<bool> over = false;
      std::thread looks{[&] {
        while (!over) {
          std::this_thread::sleep_for(std::chrono::milliseconds{100});
          thin->measure();
        }
      }};
      const auto mbit = testing::tcp_mbit_per_second(network, address, 3);
      over = true;
      looks.join();
      EXPECT_LT(mbit, 8.2) << device;
      dose = thin->measure();
      if (dose.verified) {
        EXPECT_GT(mbit, 4) << device;
      }
      EXPECT_EQ(thin.undo(), "");
    }
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_NEAR(measured(dose, "rate_bytes_per_second"), 1e6, kernel() ? 2e5 : 1e5);
    EXPECT_GT(testing::tcp_mbit_per_second(network, address, 0.5), 50);
  }
}

TEST_P(NetworkImpairments, a_line_that_nobody_fills_is_no_verified_dose) {
  auto thin = fault("network.rate", {{"rate", "100mbit"}});
  thin.apply();
  ping("10.99.0.2", port, 50, gap_us());
  const auto dose = thin->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "the traffic did not ask for more than the rate: nothing was held back");
}

TEST_P(NetworkImpairments, too_few_packets_verify_no_share) {
  auto lossy = fault("network.loss", {{"loss", "1%"}, {"protocol", "udp"}});
  lossy.apply();
  ping("10.99.0.2", port, 50, 1'000, 200);
  const auto dose = lossy->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "only 50 packets came: too few to see 1 % of them lost");
}

TEST_P(NetworkImpairments, all_at_once) {
  auto bad =
      fault("network.impair", {{"delay", "20ms"}, {"loss", "20%"}, {"duplicate", "20%"}, {"corrupt", "10%"}});
  bad.apply();
  const auto seen = pings();
  EXPECT_GT(seen.lost(), many() / 6);
  EXPECT_GT(seen.duplicates, many() / 20);
  EXPECT_GT(seen.median(), 19);
  std::this_thread::sleep_for(std::chrono::milliseconds{kernel() ? 600 : 0});
  const auto dose = bad->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
}

TEST_P(NetworkImpairments, recorded_delays_are_replayed) {
  boost::json::array samples;
  for (int i = 0; i < 9; ++i)
    samples.emplace_back("5ms");
  samples.emplace_back("60ms");
  auto replayed = fault("network.delay", {{"samples", samples}});
  replayed.apply();
  // A busy machine makes packets later: one quiet window of a few is enough.
  Pings seen;
  for (int attempt = 0; attempt < 4 && (attempt == 0 || seen.quantile(0.85) >= 40); ++attempt)
    seen = pings();
  EXPECT_LT(seen.quantile(0.85), 40);
  EXPECT_GT(seen.quantile(0.95), 55);
  EXPECT_TRUE(replayed->measure().verified) << replayed->measure().reason;
}

TEST_P(NetworkImpairments, a_ramp_loses_ever_more) {
  auto lossy = fault("network.loss", {{"loss", "40%"}, {"loss_burst", 3}});
  lossy->set_level(0);
  lossy.apply();
  EXPECT_EQ(pings().lost(), 0U);
  EXPECT_EQ(lossy->measure().reason, "still being ramped up");
  lossy->set_level(0.5);
  expect_share(pings().lost(), 0.2, 6);
  lossy->set_level(1);
  expect_share(pings().lost(), 0.4, 6);
  const auto dose = lossy->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(static_cast<double>(dose.samples), many(), 0.02 * many());
}

}  // namespace
}  // namespace squall
