#include "scenarios/model/warnings.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

Scenario with_timeout(std::int64_t seconds) {
  Scenario out;
  ServiceSpec shop;
  shop.probes.push_back(
      {.name = "order", .object = "http://127.0.0.1:1/", .timeout = {seconds * 1'000'000'000}});
  out.landscape.services["shop"] = shop;
  Step step;
  step.lasts = Duration{20'000'000'000};
  out.method.push_back(step);
  out.recovery.lasts = {10'000'000'000};
  Expectation expected;
  expected.service = "shop";
  out.expect.push_back(expected);
  HaltCondition halts;
  halts.service = "shop";
  halts.over = {3'000'000'000};
  out.halt_when.push_back(halts);
  return out;
}

TEST(Warnings, a_timeout_longer_than_what_it_is_to_be_seen_in) {
  EXPECT_TRUE(warnings(with_timeout(2)).empty());
  EXPECT_EQ(warnings(with_timeout(5)).size(), 1u);
  const auto all = warnings(with_timeout(60));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0],
            "probe \"order\" of shop: its timeout of 1m is longer than the halt condition's window of 3s, so "
            "a slow answer is no answer to it");
  EXPECT_NE(all[1].find("the shortest fault of 20s"), std::string::npos);
  EXPECT_NE(all[2].find("the recovery window of 10s"), std::string::npos);
}

}  // namespace
}  // namespace squall
