#include "scenarios/text/readable.hpp"

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
  EXPECT_EQ(
      parse_duration("40").error(),
      "expected a duration such as 40ms, got \"40\": the unit is missing (one of ns, us, ms, s, m, h, d)");
  EXPECT_EQ(parse_rate("10MiB").error(),
            "expected a rate such as 10MiB/s, got \"10MiB\": a rate is per second, write \"10MiB/s\"");
}

TEST(Units, text_and_value_agree_both_ways) {
  for (auto* text : {"40ms", "90s", "2h", "1500us", "7ns"})
    EXPECT_EQ(to_string(*parse_duration(text)), text);
  for (auto* text : {"10MiB/s", "500kB/s", "1GiB/s"})
    EXPECT_EQ(to_string(*parse_rate(text)), text);
  EXPECT_EQ(to_string(*parse_percent("99.9%")), "99.9%");
  EXPECT_EQ(parse_rate("100mbit")->bytes_per_second, 12'500'000);
}

TEST(Units, a_rate_in_other_words_is_refused_with_ours) {
  EXPECT_EQ(parse_rate("1Mbit/s").error(),
            "expected a rate such as 10MiB/s or 100mbit, got \"1Mbit/s\": unknown unit \"Mbit/s\", write "
            "\"1mbit\"");
  const auto said = [](const std::string& text) {
    const auto error = parse_rate(text).error();
    const auto at = error.find(", write ");
    return at == error.npos ? error : error.substr(at + 8);
  };
  for (auto* text : {"1.5Mbit", "1.5mbit/s", "1.5 mbits/s", "1.5MBIT"})
    EXPECT_EQ(said(text), "\"1.5mbit\"") << text;
  for (auto* text : {"1.5Mbps", "1.5 Mb/s", "1.5mb/s"})
    EXPECT_EQ(said(text), "\"1.5mbit\" for bits, \"1.5MB/s\" for bytes") << text;
  EXPECT_EQ(said("8bps"), "\"8bit\" for bits, \"8B/s\" for bytes");
  EXPECT_EQ(said("10MBps"), "\"10MB/s\"");
  EXPECT_EQ(said("10gBps"), "\"10GB/s\"");
  EXPECT_EQ(said("10mib/s"), "\"10MiB/s\"");
  for (auto* text : {"500kB/s", "500KB/s", "500kiB/s", "1mbit", "5B/s"})
    EXPECT_TRUE(parse_rate(text).has_value()) << text;
  EXPECT_NE(parse_size("10mb").error().find("), write \"10MB\""), std::string::npos);
}

TEST(Units, figures_are_read_in_the_units_of_the_one_that_was_written) {
  EXPECT_EQ(readable(499'900, *parse_rate("500kB/s")), "499.9 kB/s");
  EXPECT_EQ(readable(499'900, *parse_rate("512KiB/s")), "488.2 KiB/s");
  EXPECT_EQ(readable(124'000, *parse_rate("1mbit")), "124 kB/s");
  EXPECT_EQ(readable(3'000'000, *parse_rate("1MiB/s")), "2.861 MiB/s");
}

TEST(Units, no_digit_is_lost) {
  for (std::int64_t ns :
       {1LL, 999LL, 9'007'199'254'740'993LL, 86'400'000'000'001LL, 9'223'372'036'854'775'807LL})
    EXPECT_EQ(parse_duration(to_string(Duration{ns}))->ns, ns);
  EXPECT_EQ(to_string(Size{9'007'199'254'740'993}), "9007199254740993B");
  EXPECT_EQ(parse_duration("0.000000001s")->ns, 1);
  EXPECT_EQ(parse_duration("1.0000000019999999999999999999999999999s")->ns, 1'000'000'002);
  EXPECT_EQ(parse_rate("12bit")->bytes_per_second, 2);
}

TEST(Units, what_cannot_be_kept_is_refused) {
  EXPECT_EQ(parse_duration("0.1ns").error(),
            "expected a duration such as 40ms, got \"0.1ns\": it is too small");
  EXPECT_EQ(parse_duration("-1s").error(), "expected a duration such as 40ms, got \"-1s\": it is below 0");
  EXPECT_EQ(parse_duration("300000000h").error(),
            "expected a duration such as 40ms, got \"300000000h\": it is too large");
  EXPECT_EQ(parse_size(std::string(500, '9') + "TiB").error().substr(0, 40),
            "expected a size such as 4KiB, got \"99999");
  for (auto* text :
       {"", " ", "s", ".5s", "5.s", "1e3s", "0x10s", "+1s", "1 2s", "infs", "nans", "1,5s", "--1s", "1..5s"})
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  for (auto* text : {"101%", "-1%", "1", "%", "nan%", "1e1%"})
    EXPECT_FALSE(parse_percent(text).has_value()) << text;
  for (auto* text : {"0", "-1", "1.5", "some", "9999999999999999999"})
    EXPECT_FALSE(parse_amount(text).has_value()) << text;
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
