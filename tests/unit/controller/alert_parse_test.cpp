#include "controller/alerts/fingerprint.hpp"
#include "controller/alerts/lookout.hpp"
#include "controller/alerts/parse.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(AlertTimes, are_read_to_the_nanosecond_in_any_zone) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:01.000000005Z"), 1'000'000'005);
  EXPECT_EQ(parse_rfc3339("1970-01-01T02:00:01+02:00"), 1'000'000'000);
  EXPECT_FALSE(parse_rfc3339("yesterday"));
}

TEST(AlertTimes, the_year_one_means_no_time) {
  EXPECT_EQ(parse_rfc3339("0001-01-01T00:00:00Z"), 0);
}

TEST(Fingerprint, of_no_label_is_the_offset_basis_of_fnv) {
  EXPECT_EQ(fingerprint({}), "cbf29ce484222325");
}

TEST(Fingerprint, tells_a_name_from_a_value) {
  EXPECT_NE(fingerprint({{"ab", "c"}}), fingerprint({{"a", "bc"}}));
}

TEST(Notification, of_alertmanager_is_read) {
  auto read = parse_notification(
      R"({"version":"4","receiver":"storage","alerts":[{"status":"firing","labels":{"alertname":"A"},
    "startsAt":"2026-11-23T06:21:02.704Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"9eafa69a102da660"}]})");
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->receiver, "storage");
  ASSERT_EQ(read->alerts.size(), 1u);
  EXPECT_TRUE(read->alerts[0].firing);
  EXPECT_EQ(read->alerts[0].starts_at % 1'000'000'000, 704'000'000);
}

TEST(Sources, nonsense_is_an_error_text_and_never_a_throw) {
  for (auto* text : {"", "<html>", "[]", "{}", "{\"status\":\"success\"}",
                     "{\"status\":\"success\",\"data\":7}", "null", "{\"version\":\"3\"}"}) {
    EXPECT_FALSE(parse_alert_series(text)) << text;
    EXPECT_FALSE(parse_active_alerts(text)) << text;
    EXPECT_FALSE(parse_rules(text)) << text;
    EXPECT_FALSE(parse_notification(text)) << text;
  }
  EXPECT_EQ(parse_alert_series(R"({"status":"error","error":"parse error"})").error(), "parse error");
}

TEST(Lookout, an_alert_that_no_rule_defines_cannot_fire) {
  Scenario scenario;
  scenario.landscape.alert_sources.push_back({});
  Expectation expectation;
  expectation.alert = "RedisSlw";
  scenario.expect.push_back(expectation);
  const auto found = findings(scenario, {{"RedisSlow", {}, 0, 0}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(
      found[0],
      "no rule of any alert source is called \"RedisSlw\" (the nearest is \"RedisSlow\"): it cannot fire");
}

}  // namespace
}  // namespace squall
