// Times of other clocks on the run's time line, and what a verdict may rest on them.
#include "reports/record/clocks.hpp"

#include <gtest/gtest.h>

#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;
using testing::second;
using testing::wall_start;

constexpr std::int64_t ms = 1'000'000;

TEST(Clocks, a_source_behind_is_brought_forward) {
  Clocks clocks;
  clocks.add("prometheus x", {0, true, wall_start - 3 * second, 2 * ms});
  const auto when = clocks.bring("prometheus x", wall_start + 10 * second, 60 * second, 0);
  EXPECT_EQ(when.t, 13 * second);
  EXPECT_LE(when.early_t, 13 * second - 2 * ms);
  EXPECT_LE(when.late_t - when.early_t, 20 * ms) << "its error, and what two clocks may drift apart in 13 s";
}

TEST(Clocks, a_step_counts_from_when_it_was_seen) {
  Clocks clocks;
  clocks.add("host a", {0, true, wall_start, ms});
  clocks.add("host a", {20 * second, true, wall_start + 3600 * second, ms, true, 19 * second});
  EXPECT_EQ(clocks.bring("host a", wall_start + 10 * second, 50 * second, 0).t, 10 * second);
  EXPECT_EQ(clocks.bring("host a", wall_start + 3630 * second, 50 * second, 0).t, 30 * second);
}

TEST(Clocks, a_small_step_leaves_what_lies_about_it_open) {
  Clocks clocks;
  clocks.add("host a", {0, true, wall_start, ms});
  clocks.add("host a",
             {20 * second, true, wall_start - second, ms, true, 18 * second});  // set back by 1 s in between
  const auto when = clocks.bring("host a", wall_start + 18 * second + second / 2, 50 * second, 0);
  EXPECT_LE(when.early_t, 18 * second + second / 2);
  EXPECT_GE(when.late_t, 19 * second + second / 2);
}

TEST(Clocks, set_back_far_leave_no_doubt_of_what_was_just_heard) {
  Clocks clocks;
  clocks.add("host a", {0, true, wall_start, ms});
  clocks.add("host a", {20 * second, true, wall_start - 3600 * second, ms, true, 19 * second});
  const auto when = clocks.bring("host a", wall_start - 3570 * second, 30 * second, 25 * second);
  EXPECT_EQ(when.t, 30 * second);
  EXPECT_LE(when.error_ns(), second);
}

TEST(Clocks, nothing_is_later_than_it_was_seen) {
  Clocks clocks;
  clocks.add("host a", {0, true, wall_start, 500 * ms});
  EXPECT_LE(clocks.bring("host a", wall_start + 10 * second, 10 * second, 0).late_t, 10 * second);
}

const std::string expected = "  - {alert: Slow, fires_within: 2s}\n";

AlertVerdict first(const Verdict& verdict) {
  return verdict.alerts.at(0);
}

MadeRecord drill(const std::string& expect = expected) {
  return MadeRecord{expect}.healthy();
}

TEST(SourceClock, three_seconds_behind_makes_no_alert_early) {
  // Fired 4 s after the fault at 10 s; its own clock says 1 s after it.
  const auto verdict = drill()
                           .clock(0, "prometheus", "x", -3, 0.002)
                           .alert(11, AlertState::firing, "Slow", "storage", "", "prometheus", false, 14.5)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::late) << first(verdict).text;
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  EXPECT_EQ(verdict.findings.at(0),
            "the clock of prometheus x is 3.0 s behind (within 2 ms); its times are corrected by that");
}

TEST(SourceClock, half_a_minute_behind_makes_no_alert_older_than_the_fault) {
  const auto verdict = drill()
                           .clock(0, "prometheus", "x", -30, 0.002)
                           .alert(-19, AlertState::firing, "Slow", "storage", "", "prometheus", false, 12)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::caught) << first(verdict).text;
}

TEST(SourceClock, decides_nothing_within_its_error) {
  const auto verdict = drill()
                           .clock(0, "prometheus", "x", 0, 0.5)
                           .alert(11.8, AlertState::firing, "Slow", "storage", "", "prometheus", false, 13)
                           .end()
                           .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen) << first(verdict).text;
  EXPECT_NE(first(verdict).text.find("cannot be told from"), std::string::npos) << first(verdict).text;
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
}

TEST(SourceClock, that_nobody_could_ask_makes_no_alert_late) {
  const auto verdict =
      drill()
          .line(0, "clock", {{"of", "prometheus"}, {"name", "x"}, {"unknown", "it does not tell time()"}})
          .alert(13, AlertState::firing)
          .end()
          .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen) << first(verdict).text;
}

TEST(SourceClock, that_nobody_could_ask_still_lets_looks_decide) {
  // Not there at 14.0 s, there at 14.5 s, whatever its clock says.
  const auto verdict =
      drill()
          .line(0, "clock", {{"of", "alertmanager"}, {"name", "y"}, {"unknown", "no Date"}})
          .alert(11, AlertState::firing, "Slow", "storage", "", "alertmanager", false, 14.5, 0.5)
          .end()
          .judged();
  EXPECT_EQ(first(verdict).outcome, AlertOutcome::unseen)
      << "its word is 1 s after the fault, ours 4 s: " << first(verdict).text;
}

TEST(HostClock, behind_moves_no_fault) {
  // The service is down exactly while the fault is in force, from 10 to 30 s; the host's clock is 3 s behind.
  auto record = MadeRecord{"  - {service: playlist, availability: \">= 50%\", recovers_within: 1s}\n"};
  record.clock(0, "host", "here", -3, 0.002)
      .probes(0, 10, 5)
      .probes(10, 30, 5, false, "refused")
      .probes(30, 50, 5)
      .fault(true, "", false, -3)
      .restored();
  const auto verdict = record.end().judged();
  EXPECT_EQ(verdict.expectations.at(0).outcome, Outcome::violated) << verdict.expectations[0].evidence;
  EXPECT_EQ(verdict.expectations.at(1).outcome, Outcome::held) << verdict.expectations[1].evidence;
}

TEST(HostClock, known_badly_decides_nothing_that_hangs_on_it) {
  auto record = MadeRecord{"  - {service: playlist, availability: \">= 95%\"}\n"};
  record.clock(0, "host", "here", 0, 2)
      .probes(0, 8, 5)
      .probes(8, 10, 5, false, "refused")
      .probes(10, 50, 5)
      .fault()
      .restored();
  const auto verdict = record.end().judged();
  EXPECT_EQ(verdict.expectations.at(0).outcome, Outcome::inconclusive) << verdict.expectations[0].evidence;
}

TEST(OwnClock, that_steps_is_told) {
  const auto verdict =
      drill().line(5, "clock.step", {{"by_ns", -3 * second}}).alert(11, AlertState::firing).end().judged();
  EXPECT_NE(verdict.findings.at(0).find("this machine's clock was set back by 3.0 s"), std::string::npos)
      << verdict.findings[0];
}

// One more host for the step "slow", in force within these seconds.
MadeRecord& on_another_host(MadeRecord& record, double from, double to) {
  auto at = [](double t) { return wall_start + static_cast<std::int64_t>(t * 1e9); };
  record.line(from, "fault.applied",
              {{"step", "slow"},
               {"fault", "network.delay"},
               {"host", "far"},
               {"act", false},
               {"applied_at", at(from)}});
  return record.line(
      to, "fault.undone",
      {{"step", "slow"},
       {"host", "far"},
       {"undone_at", at(to)},
       {"clean", true},
       {"left", boost::json::array{}},
       {"dose",
        {{"prescribed", boost::json::object{}}, {"measured", boost::json::object{}}, {"verified", true}}}});
}

TEST(Skew, of_a_step_on_two_hosts_is_told) {
  auto record = drill("  - {service: playlist, availability: \">= 90%\"}\n");
  const auto verdict = on_another_host(record, 10.6, 30.6).end().judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass) << verdict.headline;
  EXPECT_NE(std::find(verdict.findings.begin(), verdict.findings.end(), "slow began on far 0.6 s after here"),
            verdict.findings.end());
}

TEST(Skew, that_leaves_no_moment_in_common_makes_no_fault) {
  auto record = drill("  - {service: playlist, availability: \">= 90%\"}\n");
  const auto verdict = on_another_host(record, 32, 52).end(60).judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_NE(verdict.reasons.at(0).find("never in force as a whole"), std::string::npos) << verdict.reasons[0];
}

}  // namespace
}  // namespace squall
