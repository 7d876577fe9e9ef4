// What Alertmanager's configuration says of who is told, and when; and what is told of it before a drill.
#include "controller/alerts/routing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/alerts/lookout.hpp"

namespace squall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t s = 1'000'000'000;
constexpr std::int64_t sunday_morning = 1'795'914'000 * s;  // 2026-11-29 01:00 UTC

constexpr std::string_view config = R"(
route:
  receiver: nobody
  group_by: [alertname]
  group_wait: 0s
  routes:
    - receiver: cache
      matchers: ['squad="cache"']
      group_wait: 20s
      group_interval: 25s
      mute_time_intervals: [nights, weekdays]
      continue: true
    - receiver: storage
      match_re: {squad: "stor.*|cache"}
      group_by: ['...']
    - {receiver: never, matchers: [squad!~"a|b"], match: {squad: nothing}}
receivers:
  - {name: nobody}
  - {name: cache, webhook_configs: [{url: "http://x/", max_alerts: 1}]}
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "00:00", end_time: "06:00"}]}]}
mute_time_intervals:
  - {name: weekdays, time_intervals: [{weekdays: ["monday:friday"]}]}
)";

TEST(Routing, follows_the_tree_as_alertmanager_does) {
  const auto routing = Routing::read(config);
  ASSERT_TRUE(routing) << routing.error();
  const auto found = routing->match({{"alertname", "Slow"}, {"squad", "cache"}}, sunday_morning);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].receiver, "cache");
  EXPECT_EQ(found[0].route.wait_ns, 20 * s);
  EXPECT_EQ(found[0].route.interval_ns, 25 * s);
  EXPECT_EQ(found[0].route.max_alerts, 1);
  EXPECT_THAT(found[0].route.muted_by, ElementsAre("nights"));
  EXPECT_EQ(found[0].route.group, "0/0 alertname=\"Slow\"");
  EXPECT_EQ(found[1].receiver, "storage");
  EXPECT_EQ(found[1].route.wait_ns, 0) << "inherited";
  EXPECT_EQ(found[1].route.interval_ns, 300 * s) << "Alertmanager's default";
  EXPECT_EQ(found[1].route.group, "0/1 alertname=\"Slow\" squad=\"cache\"");
  EXPECT_EQ(routing->match({{"alertname", "Slow"}}, sunday_morning).at(0).receiver, "nobody");
}

TEST(Routing, knows_when_an_interval_is_over) {
  const auto routing = Routing::read(config);
  EXPECT_TRUE(
      routing->match({{"squad", "cache"}}, sunday_morning + 6 * 3600 * s).at(0).route.muted_by.empty());
  EXPECT_THAT(routing->match({{"squad", "cache"}}, sunday_morning + 30 * 3600 * s).at(0).route.muted_by,
              ElementsAre("weekdays"));
}

TEST(Routing, that_cannot_be_understood_says_nothing) {
  EXPECT_FALSE(Routing::read("receivers: []"));
  EXPECT_TRUE(Routing::read("route: {receiver: a, matchers: ['x=~\"(\"']}")->match({{"x", "("}}, 0).empty());
}

TEST(Durations, of_prometheus_are_read) {
  EXPECT_EQ(prometheus_duration_ns("1h30m"), 5400 * s);
  EXPECT_EQ(prometheus_duration_ns("500ms"), s / 2);
  EXPECT_EQ(prometheus_duration_ns("soon"), 0);
}

Scenario reaching(const std::string& squad) {
  Scenario scenario;
  scenario.landscape.alert_sources.push_back({});
  Expectation expectation;
  expectation.alert = "Slow", expectation.reaches = squad, expectation.labels = {{"squad", squad}};
  scenario.expect.push_back(expectation);
  Step step;
  step.lasts = Duration{10 * s};
  scenario.method.push_back(step);
  return scenario;
}

TEST(Lookout, tells_what_alertmanager_would_do) {
  const auto routing = Routing::read(config);
  const auto found = findings(reaching("cache"), {{"Slow", {}, 0, s}}, {&*routing, sunday_morning, {}});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], "Slow is muted now by the time interval nights of its route to cache");
  EXPECT_EQ(found[1],
            "Slow is told of after 20s at the earliest (group_wait of the route to cache), longer than the "
            "faults last");
  EXPECT_EQ(found[2], "a notification to cache holds one alert at most (max_alerts): Slow may be left out");
}

TEST(Lookout, tells_of_a_group_that_is_open_already) {
  const auto routing = Routing::read(config);
  const auto found = findings(reaching("cache"), {{"Slow", {}, 0, s}},
                              {&*routing, sunday_morning + 6 * 3600 * s, {"cache 0/0 alertname=\"Slow\""}});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0],
            "another alert of its group fires already: Slow is told of after up to 25s (group_interval of "
            "the route to cache)");
}

TEST(Lookout, tells_where_an_alert_goes_to_nobody_known) {
  const auto routing = Routing::read(config);
  const auto found = findings(reaching("db"), {{"Slow", {}, 0, s}}, {&*routing, sunday_morning, {}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0], HasSubstr("sends Slow to the receiver nobody, which is not known as db's"));
}

TEST(Lookout, says_by_what_a_squad_is_seen_to_be_reached) {
  auto scenario = reaching("cache");
  scenario.landscape.alert_sources.push_back({AlertSourceSpec::Kind::alertmanager, "http://am", {}});
  EXPECT_THAT(witnesses(scenario), ElementsAre(HasSubstr("routed to, not delivered")));
  scenario.landscape.alert_sources.push_back({AlertSourceSpec::Kind::webhook, "127.0.0.1:9099", {}});
  EXPECT_THAT(witnesses(scenario), ElementsAre(HasSubstr("webhook 127.0.0.1:9099")));
}

}  // namespace
}  // namespace squall
