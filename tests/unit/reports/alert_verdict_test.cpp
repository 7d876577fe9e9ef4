#include "reports/judge/alert_verdict.hpp"

#include <gtest/gtest.h>

#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;

const std::string expected =
    "  - {alert: Slow, labels: {squad: storage}, fires_within: 10s, resolves_within: 10s, reaches: storage}\n"
    "  - {other_alerts: none}\n";

MadeRecord drill() {
  return MadeRecord{expected}.healthy();
}

AlertVerdict first(const Verdict& verdict) {
  return verdict.alerts.at(0);
}

TEST(Alert, that_fires_in_time_reaches_its_squad_and_resolves_is_caught) {
  const auto verdict = drill()
                           .alert(13, AlertState::pending)
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .alert(34, AlertState::resolved)
                           .end()
                           .judged();
  const auto alert = first(verdict);
  EXPECT_EQ(alert.outcome, AlertOutcome::caught) << alert.text;
  EXPECT_EQ(alert.text,
            "fired 5.0 s after the first fault, reached storage after 6.0 s, resolved 4.0 s after the last "
            "fault's end");
  EXPECT_DOUBLE_EQ(*alert.pending_after_s, 3);
  EXPECT_EQ(alert.reached, std::vector<std::string>{"storage"});
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass);
  EXPECT_EQ(verdict.score.caught, 1);
  EXPECT_EQ(verdict.score.precision, 1.0);
  EXPECT_EQ(verdict.score.recall, 1.0);
  EXPECT_EQ(verdict.score.mean_detection_s, 5.0);
}

TEST(Alert, that_never_fires_is_missing) {
  const auto verdict = drill().alert(13, AlertState::pending).alert(14, AlertState::resolved).end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::missing);
  EXPECT_EQ(first(verdict).text,
            "did not fire in the 40.0 s after the first fault; it was pending from 3.0 s on");
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  EXPECT_EQ(verdict.score.missed, 1);
  EXPECT_EQ(verdict.score.recall, 0.0);
  EXPECT_FALSE(verdict.score.precision.has_value());
}

TEST(Alert, that_fires_after_its_deadline_is_late) {
  const auto verdict = drill()
                           .alert(22, AlertState::firing)
                           .alert(23, AlertState::notified, "Slow", "storage", "storage")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::late);
  EXPECT_EQ(first(verdict).text, "fired 12.0 s after the first fault, 2.0 s too late");
  EXPECT_EQ(verdict.score.mean_detection_s, 12.0) << "a late alert is a slow detection, not none";
}

TEST(Alert, that_reaches_another_squad_went_to_the_wrong_one) {
  const auto verdict = drill()
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "playlists-pager")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::wrong_squad);
  EXPECT_EQ(first(verdict).text,
            "fired 5.0 s after the first fault, but reached playlists instead of storage");
}

TEST(Alert, that_fires_with_another_squads_label_went_to_the_wrong_one) {
  const auto verdict = drill().alert(15, AlertState::firing, "Slow", "playlists").end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::wrong_squad);
  EXPECT_EQ(first(verdict).text,
            "fired only with other labels: {squad=\"playlists\"}, expected {squad=\"storage\"}");
}

TEST(Alert, that_reaches_nobody_is_not_caught) {
  const auto verdict = drill().alert(15, AlertState::firing).end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::wrong_squad);
  EXPECT_EQ(first(verdict).text, "fired 5.0 s after the first fault, but reached nobody instead of storage");
}

TEST(Alert, that_a_silence_kept_from_everybody_is_silenced) {
  const auto verdict = drill()
                           .alert(15, AlertState::firing)
                           .alert(15.1, AlertState::silenced, "Slow", "storage", "", "alertmanager")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::silenced);
}

TEST(Alert, that_stays_on_is_unresolved) {
  const auto verdict = drill()
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unresolved);
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  EXPECT_EQ(verdict.score.caught, 1) << "it was noticed in time all the same";
}

TEST(Alert, that_was_firing_before_the_fault_is_a_finding_not_a_catch) {
  const auto verdict = drill()
                           .alert(-60, AlertState::firing, "Slow", "storage", "", "prometheus", true)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::preexisting);
  EXPECT_FALSE(first(verdict).fired);
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  ASSERT_FALSE(verdict.findings.empty());
  EXPECT_EQ(verdict.findings[0], "alert Slow{squad=\"storage\"} was firing before the first fault");
}

TEST(Alert, that_ended_before_the_fault_and_fires_again_is_a_catch) {
  const auto verdict = drill()
                           .alert(-60, AlertState::firing, "Slow", "storage", "", "prometheus", true)
                           .alert(5, AlertState::resolved)
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .alert(33, AlertState::resolved)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::caught) << first(verdict).text;
}

TEST(Alert, that_nobody_expected_is_unexpected_where_none_may_fire) {
  const auto verdict = drill()
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .alert(34, AlertState::resolved)
                           .alert(18, AlertState::firing, "Other", "playlists")
                           .end()
                           .judged();
  ASSERT_EQ(verdict.alerts.size(), 2u);
  EXPECT_EQ(verdict.alerts[1].outcome, AlertOutcome::unexpected);
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  EXPECT_EQ(verdict.expectations[1].expectation, "no other alert fires");
  EXPECT_EQ(verdict.score.precision, 0.5);
}

TEST(Alert, that_nobody_expected_may_have_fired_before) {
  const auto verdict = drill()
                           .alert(15, AlertState::firing)
                           .alert(16, AlertState::notified, "Slow", "storage", "storage")
                           .alert(34, AlertState::resolved)
                           .alert(-5, AlertState::firing, "Old", "playlists", "", "prometheus", true)
                           .end()
                           .judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass);
  EXPECT_EQ(verdict.alerts[1].outcome, AlertOutcome::preexisting);
}

TEST(Alert, whose_source_was_down_is_inconclusive_not_missing) {
  const auto verdict = drill().source("prometheus", false, 9).end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_EQ(first(verdict).text,
            "was not seen to fire, but could not be seen: prometheus x did not answer for 10.0 s: connection "
            "refused");
  EXPECT_EQ(verdict.expectations[1].outcome, Outcome::inconclusive);
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
}

TEST(Alert, that_had_no_time_to_fire_is_inconclusive) {
  const auto verdict = MadeRecord{"  - {alert: Slow, fires_within: 60s}\n"}.healthy().end().judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen);
  EXPECT_EQ(first(verdict).text, "did not fire, but was watched for only 40.0 s of 1m");
}

TEST(Receiver, belongs_to_the_squad_that_it_names_as_a_word) {
  const std::vector<std::string> squads{"core", "storage", "storage-core"};
  EXPECT_EQ(squad_of("storage", {}, squads), "storage");
  EXPECT_EQ(squad_of("page/storage", {}, squads), "storage");
  EXPECT_EQ(squad_of("storage-core-pager", {}, squads), "storage-core");
  EXPECT_EQ(squad_of("coldstorage", {}, squads), "");
}

TEST(Receiver, that_names_no_squad_leaves_it_to_the_label) {
  EXPECT_EQ(squad_of("webhook", {{"squad", "storage"}}, {"storage"}), "storage");
  EXPECT_EQ(squad_of("playlists", {{"squad", "storage"}}, {"storage", "playlists"}), "playlists")
      << "where it went counts, not where it should";
}

}  // namespace
}  // namespace squall
