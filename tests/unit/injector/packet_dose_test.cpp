// What the dose of packets says of what was seen of them.
#include "injector/faults/dose/packet_dose.hpp"

#include <gtest/gtest.h>

namespace squall::faults {
namespace {

// So many delays, drawn from a shape and each late by `late_ns`.
HoldTimes held(const DelayShape& shape, int count, std::int64_t late_ns = 50'000) {
  DelaySampler sampler{shape, 5};
  HoldTimes out;
  for (int i = 0; i < count; ++i)
    out.add(sampler.next_ns() + late_ns);
  return out;
}

Dose dose_of(const DelayShape& asked, const HoldTimes& times) {
  Impairment what;
  what.delay = asked;
  PacketsSeen seen;
  seen.ways.push_back({Way::out, &times, times.count(), 0, {}, 0});
  return packet_dose(what, seen);
}

TEST(PacketDose, of_recorded_delays_is_judged_by_them_and_not_by_their_outliers) {
  std::vector<std::int64_t> samples(999, 10'000'000);
  samples.push_back(60'000'000'000);
  const auto asked = recorded_delays(samples);
  auto dose = dose_of(asked, held(asked, 1'000));
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.prescribed.at("delay_ms").as_double(), 10);
  HoldTimes wrong;
  for (int i = 0; i < 1'000; ++i)
    wrong.add(14'000'000);
  dose = dose_of(asked, wrong);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "expected a median of 10.000 ms, measured 14.008 ms over 1000 packets");
}

TEST(PacketDose, of_jitter_is_its_spread_beside_the_prescribed_one) {
  for (auto [distribution, spread] :
       {std::pair{Distribution::uniform, 13.6}, std::pair{Distribution::normal, 20.0},
        std::pair{Distribution::pareto, 13.9}, std::pair{Distribution::paretonormal, 16.0}}) {
    DelayShape asked{100'000'000, 20'000'000, distribution, 0, {}};
    const auto dose = dose_of(asked, held(asked, 4'000));
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(dose.prescribed.at("jitter_ms").as_double(), 20);
    const double prescribed = dose.prescribed.at("spread_ms").as_double();
    EXPECT_NEAR(prescribed, spread, 0.1) << static_cast<int>(distribution);
    EXPECT_NEAR(dose.measured.at("spread_ms").as_double(), prescribed, 0.08 * prescribed);
  }
}

TEST(PacketDose, of_a_jitter_that_is_dead_is_not_verified) {
  const DelayShape asked{100'000'000, 20'000'000, Distribution::normal, 0, {}},
      dead{100'000'000, 0, Distribution::normal, 0, {}};
  for (const int count : {60, 1'000}) {
    const auto dose = dose_of(asked, held(dead, count));
    EXPECT_FALSE(dose.verified);
    EXPECT_TRUE(dose.reason.starts_with(
        "expected the middle 68 % of the delays to spread over ±19.971 ms, measured ±0.000 ms"))
        << dose.reason;
  }
  // Of very few nothing can be said.
  EXPECT_TRUE(dose_of(asked, held(asked, 5)).verified);
}

TEST(PacketDose, of_packets_that_the_undo_let_go_is_none_and_says_so) {
  Impairment what;
  what.delay.delay_ns = 20'000'000'000;
  const HoldTimes none;
  PacketsSeen seen;
  seen.ways.push_back({Way::out, &none, 500, 0, {}, 500});
  const auto dose = packet_dose(what, seen);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no packet was through its delay before it was undone; 500 were let go early");
  EXPECT_EQ(dose.measured.at("packets").to_number<int>(), 500);
}

}  // namespace
TEST(PacketDose, that_lost_many_besides_is_not_verified) {
  Impairment what;
  what.delay.delay_ns = 10'000'000;
  HoldTimes times;
  for (int i = 0; i < 400; ++i)
    times.add(10'000'000);
  PacketsSeen seen;
  seen.ways.push_back({Way::in, &times, times.count(), 0, {}, 0});
  seen.lost = 2;
  EXPECT_TRUE(packet_dose(what, seen).verified);
  seen.lost = 20;
  const auto dose = packet_dose(what, seen);
  EXPECT_FALSE(dose.verified);
  EXPECT_TRUE(dose.reason.starts_with("20 packets, 4.8 % of 420, were lost besides, which nobody asked for"))
      << dose.reason;
}

TEST(PacketDose, of_corruption_that_cannot_be_counted_says_so) {
  Impairment what;
  what.corrupt = 0.02;
  HoldTimes times;
  PacketsSeen seen;
  seen.ways.push_back({Way::out, &times, 1000, 0, {.losses = {.came = 1000}, .corrupted = 20}, 0});
  EXPECT_TRUE(packet_dose(what, seen).verified);
  seen.corruption_unseen = "large segments came";
  const auto dose = packet_dose(what, seen);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "large segments came");
  EXPECT_FALSE(dose.measured.contains("corrupt_percent"));
}

}  // namespace squall::faults
