#include "controller/record/clock_estimate.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

constexpr std::int64_t ms = 1'000'000, s = 1'000 * ms, ahead = 1'795'424'000 * s;

TEST(ClockEstimate, is_right_within_half_a_round_trip) {
  ClockEstimate clock;
  const auto news = clock.add(ahead + 10 * s + 5 * ms, ahead + 10 * s + 5 * ms, 10 * s, 10 * s + 20 * ms);
  ASSERT_TRUE(news);
  EXPECT_LE(news->zero_ns - news->error_ns, ahead);
  EXPECT_GE(news->zero_ns + news->error_ns, ahead);
  EXPECT_LE(news->error_ns, 10 * ms + 1);
}

TEST(ClockEstimate, many_dates_of_whole_seconds_tell_more_than_one) {
  ClockEstimate clock;
  std::optional<ClockEstimate::News> last;
  for (std::int64_t t = 0; t < 10 * s; t += 470 * ms) {
    const auto whole = (ahead + 300 * ms + t) / s * s;
    if (auto news = clock.add(whole, whole + s, t, t + 2 * ms)) {
      EXPECT_FALSE(news->stepped);
      last = news;
    }
  }
  ASSERT_TRUE(last);
  EXPECT_LE(last->error_ns, 150 * ms);
  EXPECT_LE(std::abs(last->zero_ns - (ahead + 300 * ms)), last->error_ns);
}

TEST(ClockEstimate, sees_a_step_and_how_long_ago_it_was_right) {
  ClockEstimate clock;
  clock.add(ahead, ahead, 0, ms);
  EXPECT_FALSE(clock.add(ahead + s, ahead + s, s, s + ms)) << "nothing new";
  const auto news = clock.add(ahead + 5 * s, ahead + 5 * s, 2 * s, 2 * s + ms);
  ASSERT_TRUE(news);
  EXPECT_TRUE(news->stepped);
  EXPECT_EQ(news->held_ns, s);
}

TEST(HttpDate, is_read) {
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:01:00 GMT"), 60 * s);
  EXPECT_FALSE(parse_http_date("yesterday"));
}

}  // namespace
}  // namespace squall
