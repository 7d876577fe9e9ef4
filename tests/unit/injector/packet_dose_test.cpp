// What the dose of packets says of what was seen of them.
#include "injector/faults/packet_dose.hpp"

#include <gtest/gtest.h>

namespace squall::faults {
namespace {

// So many delays, drawn from a shape and each late by `late_ns`.
HoldTimes held(const DelayShape& shape, int count, std::int64_t late_ns = 50'000) {
  DelaySampler sampler{shape, 5};
  HoldTimes out;
  for (int i = 0; i < count; ++i) out.add(sampler.next_ns() + late_ns);
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
  for (int i = 0; i < 1'000; ++i) wrong.add(14'000'000);
  dose = dose_of(asked, wrong);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "expected a median of 10.000 ms, measured 14.008 ms over 1000 packets");
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
}  // namespace squall::faults
