#include "scenarios/units.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Units, a_duration_carries_its_unit) {
  EXPECT_EQ(parse_duration("40ms")->ns, 40'000'000);
  EXPECT_EQ(parse_duration("1.5s")->ns, 1'500'000'000);
  EXPECT_EQ(parse_duration("250us")->ns, 250'000);
  EXPECT_EQ(parse_duration("2m")->ns, 120'000'000'000);
}

TEST(Units, a_bare_number_is_an_error_that_says_so) {
  EXPECT_EQ(parse_duration("40").error(),
            "expected a duration such as 40ms, got \"40\": the unit is missing (one of ns, us, ms, s, m, h, d)");
  EXPECT_EQ(parse_rate("10MiB").error(),
            "expected a rate such as 10MiB/s, got \"10MiB\": a rate is per second, write \"10MiB/s\"");
}

TEST(Units, text_and_value_agree_both_ways) {
  for (auto* text : {"40ms", "90s", "2h", "1500us", "7ns"}) EXPECT_EQ(to_string(*parse_duration(text)), text);
  for (auto* text : {"10MiB/s", "500kB/s", "1GiB/s"}) EXPECT_EQ(to_string(*parse_rate(text)), text);
  EXPECT_EQ(to_string(*parse_percent("99.9%")), "99.9%");
  EXPECT_EQ(parse_rate("100mbit")->bytes_per_second, 12'500'000);
}

TEST(Units, a_share_of_some_is_never_none) {
  EXPECT_EQ(parse_amount("10%")->of(3), 1);
  EXPECT_EQ(parse_amount("50%")->of(3), 2);
  EXPECT_EQ(parse_amount("all")->of(3), 3);
  EXPECT_EQ(parse_amount("7")->of(3), 3);
}

TEST(Units, comparisons_hold_or_do_not) {
  auto bound = *parse_percent_comparison(">= 99%");
  EXPECT_TRUE(bound.holds(99.0, bound.bound.value));
  EXPECT_FALSE(bound.holds(98.9, bound.bound.value));
  EXPECT_FALSE(parse_percent_comparison("99%").has_value());
}

}  // namespace
}  // namespace squall
