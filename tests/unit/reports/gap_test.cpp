// What squall did not ask, because it stood still or could not, is nobody's failure and proves nothing
// either.
#include <gtest/gtest.h>

#include "reports/render/render.hpp"
#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;
using testing::playlist_probe;
using testing::second;
using testing::wall_start;

const std::string availability = "  - {service: playlist, availability: \">= 99%\"}\n";

// Between `from` and `to` squall was stopped; a probe was due each 100 ms.
MadeRecord& gap(MadeRecord& made, double from, double to) {
  const auto ns = [](double s) { return static_cast<std::int64_t>(s * 1e9); };
  boost::json::object of{{"s", "playlist"},
                         {"p", playlist_probe},
                         {"due", ns(from)},
                         {"every", second / 10},
                         {"n", static_cast<int>((to - from) * 10)}};
  return made.line(
      to, "gap",
      {{"from", ns(from)}, {"to", ns(to)}, {"suspended", 0}, {"not_asked", boost::json::array{of}}});
}

MadeRecord stopped(const std::string& expect, double from = 15, double to = 18) {
  MadeRecord made{expect};
  made.probes(0, from, 5);
  gap(made, from, to).probes(to, 50, 5).fault().restored().end();
  return made;
}

TEST(Gap, makes_what_it_covers_undecidable_and_is_no_failure) {
  const auto made = stopped(availability);
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive) << verdict.headline;
  EXPECT_EQ(verdict.expectations.at(0).evidence,
            "100% (170 of 170 probes, 95% CI 97.9–100%); 30 more probes say nothing, which might turn it");
  auto& during = verdict.services.at(0).windows.at("fault");
  EXPECT_EQ(during.ok, during.probes);
  EXPECT_EQ(during.unseen, 30);
  ASSERT_FALSE(verdict.findings.empty());
  EXPECT_NE(verdict.findings.front().find("squall stood still"), std::string::npos)
      << verdict.findings.front();
  EXPECT_NE(verdict.findings.front().find("for 3.0 s"), std::string::npos) << verdict.findings.front();
}

TEST(Gap, of_a_moment_turns_nothing_where_the_rest_decides) {
  EXPECT_EQ(stopped("  - {service: playlist, availability: \">= 50%\"}\n").judged().kind,
            Verdict::Kind::pass);
  EXPECT_EQ(stopped("  - {service: playlist, latency_p90: \"<= 100ms\"}\n", 15, 16).judged().kind,
            Verdict::Kind::pass);
  EXPECT_EQ(stopped("  - {service: playlist, latency_p90: \"<= 100ms\"}\n", 15, 18).judged().kind,
            Verdict::Kind::inconclusive);
  EXPECT_EQ(stopped("  - {service: playlist, latency_max: \"<= 100ms\"}\n", 15, 15.5).judged().kind,
            Verdict::Kind::inconclusive);
}

TEST(Gap, does_not_excuse_what_was_seen_to_fail) {
  MadeRecord made{availability};
  made.probes(0, 10, 5).probes(10, 15, 5, false, "status 503");
  gap(made, 15, 18).probes(18, 50, 5).fault().restored().end();
  EXPECT_EQ(made.judged().kind, Verdict::Kind::fail);
}

TEST(Gap, over_the_baseline_leaves_no_steady_state_to_go_by) {
  MadeRecord made{availability};
  gap(made, 0, 10).line(10, "run.ended");
  const auto problems = steady_state_problems(made.record());
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], "service playlist: none of 100 probes could be asked");
}

TEST(Gap, a_lease_that_ran_out_in_it_ended_the_fault_then_and_not_when_squall_woke) {
  MadeRecord made{"  - {service: playlist, recovers_within: 5s}\n"};
  made.probes(0, 12, 5).fault_begins();
  gap(made, 12, 42);
  made.line(42, "fault.undone",
            {{"step", "slow"},
             {"host", "here"},
             {"undone_at", wall_start + 21 * second},
             {"why", "the lease ran out"},
             {"clean", true},
             {"left", boost::json::array{}},
             {"dose", {{"prescribed", {}}, {"measured", {}}, {"samples", 9}, {"verified", true}}}});
  made.probes(42, 50, 5).restored().end();
  const auto record = made.record();
  EXPECT_EQ(*record.faults.at(0).undone_t, 21 * second);
  // It was well when it was seen again, 21 s after the fault's end: nobody knows since when.
  const auto verdict = judge(record);
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive) << verdict.headline;
  EXPECT_NE(verdict.expectations.at(0).evidence.find("squall could not ask"), std::string::npos)
      << verdict.expectations.at(0).evidence;
}

TEST(Gap, no_alert_is_missed_by_others_while_squall_did_not_look) {
  EXPECT_EQ(stopped("  - {alert: Slow, fires_within: 5s}\n").judged().kind, Verdict::Kind::inconclusive);
  EXPECT_EQ(stopped("  - {other_alerts: none}\n").judged().kind, Verdict::Kind::inconclusive);
}

TEST(Gap, is_told_in_every_report_and_grey_in_the_chart) {
  const auto made = stopped(availability);
  const auto record = made.record();
  const auto verdict = judge(record);
  for (auto& report :
       {render_terminal(record, verdict, false), render_markdown(record, verdict),
        render_json(record, verdict), render_html(record, verdict), render_junit(record, verdict)})
    EXPECT_NE(report.find("squall stood still"), std::string::npos) << report.substr(0, 2000);
  EXPECT_NE(render_junit(record, verdict).find("30 more probes say nothing"), std::string::npos);
  EXPECT_NE(render_html(record, verdict).find("<rect class=\"gap\" x="), std::string::npos);
  EXPECT_NE(render_json(record, verdict).find("\"gaps\": [{\"start\""), std::string::npos);
}

TEST(NotAsked, probes_that_never_left_are_told_and_not_charged_to_the_service) {
  MadeRecord made{availability};
  made.probes(0, 10, 5);
  for (int i = 100; i < 300; ++i) {
    ProbeSample sample{.due_ns = i * second / 10,
                       .latency_ns = 1000,
                       .error = "could not be asked: cannot assign requested address",
                       .unseen = true};
    made.line(i / 10.0, "probe", to_event("playlist", std::string(playlist_probe), sample));
  }
  made.probes(30, 50, 5).fault().restored().end();
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_EQ(verdict.expectations.at(0).evidence, "none of the 200 probes that were due says anything of it");
  ASSERT_FALSE(verdict.findings.empty());
  EXPECT_NE(verdict.findings.front().find("200 of 500 probes"), std::string::npos)
      << verdict.findings.front();
  EXPECT_NE(verdict.findings.front().find("cannot assign requested address"), std::string::npos);
}

}  // namespace
}  // namespace squall
