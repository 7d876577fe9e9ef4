// What a verdict about alerts may not say: sources that could not have told, forgot, or do not agree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::MadeRecord;

const std::string reaches =
    "  - {alert: Slow, labels: {squad: storage}, fires_within: 10s, reaches: storage}\n";

AlertVerdict first(const Verdict& verdict) {
  return verdict.alerts.at(0);
}
MadeRecord drill(const std::string& expect = reaches) {
  return MadeRecord{expect}.healthy();
}

TEST(OtherAlerts, need_a_source_that_could_have_told) {
  const auto verdict = drill("  - {other_alerts: none}\n")
                           .line(1, "alert.source",
                                 {{"source", "prometheus"},
                                  {"address", "x"},
                                  {"ok", true},
                                  {"blind", "it has no alerting rules"}})
                           .end()
                           .judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_THAT(verdict.expectations.at(0).evidence, HasSubstr("it has no alerting rules"));
}

TEST(OtherAlerts, are_not_seen_by_a_source_that_began_anew) {
  const auto verdict = drill("  - {other_alerts: none}\n")
                           .line(20, "alert.restart", {{"source", "prometheus"}, {"address", "x"}})
                           .end()
                           .judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_THAT(verdict.expectations.at(0).evidence, HasSubstr("began anew"));
}

TEST(Alert, that_was_pending_before_the_fault_is_not_caught_by_it) {
  const auto verdict = drill()
                           .alert(8, AlertState::pending)
                           .alert(12, AlertState::firing)
                           .alert(13, AlertState::notified, "Slow", "storage", "storage")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::preexisting) << first(verdict).text;
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
}

TEST(Alert, whose_only_source_began_anew_is_not_unresolved) {
  const auto verdict = drill("  - {alert: Slow, fires_within: 10s, resolves_within: 10s}\n")
                           .alert(15, AlertState::firing)
                           .line(32, "alert.restart", {{"source", "prometheus"}, {"address", "x"}})
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen) << first(verdict).text;
}

TEST(Alert, of_a_webhook_that_nobody_posts_to_is_not_seen) {
  const auto verdict = drill()
                           .line(1, "alert.source",
                                 {{"source", "webhook"},
                                  {"address", "x"},
                                  {"ok", true},
                                  {"blind", "nothing was ever posted to it"}})
                           .alert(12, AlertState::firing)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen) << first(verdict).text;
}

TEST(Alert, that_is_inhibited_is_not_called_silenced) {
  const auto verdict = drill()
                           .alert(12, AlertState::firing)
                           .suppressed(12.5, "another alert (HostDown) inhibited it")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::inhibited);
  EXPECT_THAT(first(verdict).text,
              HasSubstr("another alert (HostDown) inhibited it and kept it from everybody"));
}

TEST(Alert, on_a_muted_route_went_to_no_wrong_squad) {
  const auto verdict =
      drill().alert(12, AlertState::firing).routed(12.5, "storage", {.muted_by = {"nights"}}).end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_THAT(first(verdict).text, HasSubstr("muted by the time interval nights of its route to storage"));
}

TEST(Alert, whose_group_waits_longer_than_it_lasts_went_to_no_wrong_squad) {
  const auto verdict = drill()
                           .alert(12, AlertState::firing)
                           .routed(12.5, "storage", {.wait_ns = 20 * testing::second, .group = "0"})
                           .alert(25, AlertState::resolved)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_THAT(first(verdict).text, HasSubstr("told of after 20.0 s at the earliest (group_wait of the route "
                                             "to storage), and was there for 13.0 s"));
}

TEST(Alert, whose_group_was_told_before_waits_for_its_interval) {
  const AlertRoute route{.interval_ns = 25 * testing::second, .group = "0"};
  const auto verdict = drill()
                           .alert(-5, AlertState::firing, "Old", "storage", "", "alertmanager", true)
                           .routed(0, "storage", route, "Old")
                           .alert(12, AlertState::firing)
                           .routed(12.5, "storage", route)
                           .alert(25, AlertState::resolved)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_THAT(first(verdict).text, HasSubstr("its group was told of before"));
}

TEST(Alert, that_a_notification_left_out_is_not_seen) {
  const auto verdict = drill()
                           .alert(12, AlertState::firing)
                           .line(13, "alert.cut", {{"address", "x"}, {"receiver", "storage"}, {"count", 1}})
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_THAT(first(verdict).text, HasSubstr("left out one alert (max_alerts)"));
}

TEST(Alert, that_is_routed_elsewhere_went_to_the_wrong_squad) {
  const auto verdict =
      drill().alert(12, AlertState::firing).routed(12.5, "blackhole-not-storage").end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::wrong_squad);
  EXPECT_THAT(first(verdict).text,
              HasSubstr("Alertmanager routes it to blackhole-not-storage instead of storage"));
}

TEST(Alert, stays_one_though_relabelling_renames_its_labels) {
  MadeRecord record = drill(reaches + "  - {other_alerts: none}\n");
  record.alert(12, AlertState::firing);
  AlertEvent there;
  there.source = "webhook", there.state = AlertState::notified, there.alert = "Slow",
  there.receiver = "storage", there.fingerprint = "another";
  there.labels = {{"alertname", "Slow"}, {"team", "storage"}, {"squad", "sre"}};
  there.since_ns = testing::wall_start + 12 * testing::second;
  const auto verdict = record.line(13, "alert", to_event(there)).end().judged();
  ASSERT_EQ(verdict.alerts.size(), 1U) << verdict.alerts[1].text;
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::caught) << first(verdict).text;
}

TEST(Alert, of_another_time_is_another_one) {
  MadeRecord record = drill(reaches + "  - {other_alerts: none}\n");
  AlertEvent there;
  there.source = "alertmanager", there.state = AlertState::firing, there.alert = "Slow",
  there.fingerprint = "another";
  there.labels = {{"alertname", "Slow"}, {"team", "storage"}};
  there.since_ns = testing::wall_start + 17 * testing::second;
  EXPECT_EQ(
      record.alert(12, AlertState::firing).line(18, "alert", to_event(there)).end().judged().alerts.size(),
      2U);
}

TEST(Alert, that_nobody_looked_after_reached_nobody_knows_whom) {
  const auto verdict = drill("  - {service: playlist, availability: \">= 90%\"}\n")
                           .line(1, "alert.source",
                                 {{"source", "webhook"},
                                  {"address", "x"},
                                  {"ok", true},
                                  {"blind", "nothing was ever posted to it"}})
                           .alert(12, AlertState::firing)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).text, "fired 2.0 s after the first fault");
}

TEST(Sources, that_do_not_agree_are_told) {
  MadeRecord record = drill("  - {alert: Slow, fires_within: 10s}\n");
  const auto verdict = record.source("alertmanager", true).alert(12, AlertState::firing).end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::caught);
  EXPECT_THAT(verdict.findings, Contains(HasSubstr("alertmanager x never had it")));
}

TEST(Receiver, with_words_of_its_own_is_nobodys) {
  EXPECT_EQ(squad_of("blackhole-not-db", {{"squad", "db"}}, {"db"}), "");
  EXPECT_EQ(squad_of("db-oncall", {}, {"db"}), "db");
  SquadSpec db;
  db.receivers = {"blackhole-not-db"};
  EXPECT_EQ(squad_of("blackhole-not-db", {}, {"db"}, {{"db", db}}), "db") << "declared";
}

}  // namespace
}  // namespace squall
