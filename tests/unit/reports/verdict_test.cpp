#include "reports/judge/verdict.hpp"

#include <gtest/gtest.h>

#include "reports/judge/differences.hpp"
#include "reports/render/render.hpp"
#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;

const std::string availability = "  - {service: playlist, availability: \">= 99%\"}\n";

TEST(Verdict, passes_when_every_expectation_held) {
  const auto verdict = MadeRecord{availability}.healthy().end().judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass) << verdict.headline;
  ASSERT_EQ(verdict.expectations.size(), 1u);
  EXPECT_EQ(verdict.expectations[0].expectation, "service playlist: availability >= 99%");
  EXPECT_EQ(verdict.expectations[0].evidence, "100% (200 of 200 probes, 95% CI 98.2–100%)");
  EXPECT_EQ(exit_code(verdict), 0);
}

TEST(Verdict, fails_when_one_expectation_is_violated) {
  const auto verdict = MadeRecord{availability}
                           .probes(0, 12, 5)
                           .probes(12, 20, 1, false, "connection refused")
                           .probes(20, 50, 5)
                           .fault()
                           .restored()
                           .end()
                           .judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  ASSERT_EQ(verdict.expectations.size(), 1u);
  EXPECT_EQ(verdict.expectations[0].outcome, Outcome::violated);
  EXPECT_EQ(verdict.expectations[0].evidence,
            "60% (120 of 200 probes, 95% CI 52.9–66.8%, mostly \"connection refused\")");
  EXPECT_EQ(exit_code(verdict), 1);
}

TEST(Verdict, too_few_samples_are_inconclusive_never_a_pass) {
  const auto verdict =
      MadeRecord{"  - {service: playlist, availability: \">= 99.9%\"}\n"}.healthy().end().judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_NE(verdict.expectations[0].evidence.find("it takes 1,000 probes to tell"), std::string::npos)
      << verdict.expectations[0].evidence;
  EXPECT_EQ(exit_code(verdict), 3);
}

TEST(Verdict, a_dose_that_was_not_measured_makes_everything_inconclusive) {
  const auto verdict = MadeRecord{availability}
                           .probes(0, 10, 5)
                           .probes(10, 30, 5, false, "status 503")
                           .probes(30, 50, 5)
                           .fault(false, "no packet was delayed")
                           .restored()
                           .end()
                           .judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  ASSERT_EQ(verdict.reasons.size(), 1u);
  EXPECT_EQ(verdict.reasons[0], "slow (network.delay) on here: no packet was delayed");
  EXPECT_EQ(verdict.expectations[0].outcome, Outcome::violated) << "what was seen is still said";
  EXPECT_EQ(exit_code(verdict), 3);
}

TEST(Verdict, where_others_changed_a_host_it_says_how_to_go_on) {
  MadeRecord made{availability};
  made.probes(0, 50, 5).fault().line(30.5, "restored",
                                     {{"host", "here"},
                                      {"clean", false},
                                      {"differences", boost::json::array{"link eth0: was up, is down"}},
                                      {"see", boost::json::array{"ip -d link show eth0"}},
                                      {"left", boost::json::array{}}});
  const auto verdict = made.end().judged();
  EXPECT_EQ(exit_code(verdict), 6);
  ASSERT_EQ(verdict.next_steps.size(), 3u);
  EXPECT_EQ(verdict.next_steps[0],
            "every change of Squall's own is undone; these are none of them: somebody else's, or what a "
            "fault brought about");
  EXPECT_EQ(verdict.next_steps[1], "see on here: ip -d link show eth0");
  EXPECT_NE(render_terminal(made.record(), verdict, false).find("  → see on here: ip -d link show eth0\n"),
            std::string::npos);
}

TEST(Verdict, a_host_that_is_not_as_found_decides_the_exit_code) {
  const auto verdict = MadeRecord{availability}.probes(0, 50, 5).fault().restored(false).end().judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass);
  EXPECT_EQ(verdict.restored, false);
  EXPECT_EQ(exit_code(verdict), 6);
  ASSERT_EQ(verdict.left.size(), 1u);
  EXPECT_EQ(verdict.left[0].by_hand, "tc qdisc del dev lo root");
  EXPECT_EQ(verdict.differences[0], "here: qdisc lo: netem is still there");
}

TEST(Verdict, what_others_changed_meanwhile_is_a_note_and_the_exit_code_is_the_verdicts) {
  MadeRecord made{availability};
  made.probes(0, 50, 5).fault().line(
      30.5, "restored",
      {{"host", "here"}, {"clean", true}, {"meanwhile", boost::json::array{"link veth7 is new: veth 7 up"}}});
  const auto verdict = made.end().judged();
  EXPECT_EQ(exit_code(verdict), 0);
  EXPECT_EQ(verdict.findings, std::vector<std::string>{"here: others changed something meanwhile that no "
                                                       "fault had to do with: link veth7 is new: veth 7 up"});
}

TEST(AtOnce, a_step_that_never_was_in_force_on_all_its_hosts_is_not_verified) {
  const auto judged = [](double second_begins) {
    MadeRecord made{availability};
    made.probes(0, 50, 5).fault().restored();
    const boost::json::object dose{{"prescribed", {{"delay_ms", 80}}},
                                   {"measured", {{"delay_ms", 80}}},
                                   {"samples", 9},
                                   {"verified", true}};
    made.line(second_begins, "fault.applied",
              {{"step", "slow"}, {"fault", "network.delay"}, {"host", "there"}, {"act", false}});
    made.line(second_begins + 20, "fault.undone",
              {{"step", "slow"}, {"host", "there"}, {"clean", true}, {"dose", dose}});
    made.line(49, "restored", {{"host", "there"}, {"clean", true}});
    return made.end(52).record();
  };
  const auto apart = judged(10.25), never = judged(31.5);
  for (auto& fault : apart.faults) {
    EXPECT_TRUE(fault.dose->verified);
    EXPECT_EQ(fault.dose->measured.at("began_apart_ns"), 250'000'000);
  }
  for (auto& fault : never.faults) {
    EXPECT_FALSE(fault.dose->verified);
    EXPECT_EQ(
        fault.dose->reason,
        "it was never in force on all 2 hosts at once: it began on there 1.5 s after it had ended on here");
  }
  EXPECT_EQ(judge(never).kind, Verdict::Kind::inconclusive);
}

TEST(Verdict, a_halted_drill_is_halted_and_what_held_until_then_is_not_said_to_hold) {
  MadeRecord made{availability};
  made.probes(0, 40, 5)
      .fault()
      .restored()
      .line(20, "halt", {{"reason", "service playlist: availability 0%"}, {"by", "condition"}})
      .end();
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::halted);
  EXPECT_EQ(exit_code(verdict), 4);
  EXPECT_EQ(verdict.expectations[0].outcome, Outcome::inconclusive);
}

TEST(Verdict, a_host_that_went_away_is_an_error_not_a_halt) {
  MadeRecord made{availability};
  made.healthy().line(20, "error", {{"text", "the link to here was lost: end of file"}});
  made.line(20, "halt", {{"reason", "the link to here was lost"}, {"by", "host"}}).end();
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::error);
  EXPECT_EQ(verdict.reasons, std::vector<std::string>{"the link to here was lost: end of file"});
  EXPECT_EQ(exit_code(verdict), 5);
}

TEST(Verdict, a_torn_record_is_an_error_that_tells_what_is_known) {
  auto text = MadeRecord{availability}.probes(0, 20, 5).text();
  text += R"({"t": 20000000000, "at": 17954240)";
  std::vector<std::string> problems;
  const auto record = parse_record(text, problems);
  EXPECT_TRUE(problems.empty()) << problems.front();
  EXPECT_FALSE(record.ended);
  const auto verdict = judge(record);
  EXPECT_EQ(verdict.kind, Verdict::Kind::error);
  EXPECT_EQ(verdict.headline, "The record ends in the middle of the drill.");
  EXPECT_EQ(verdict.services.at(0).windows.at("baseline").probes, 100);
  EXPECT_EQ(exit_code(verdict), 5);
}

TEST(Verdict, faults_in_a_torn_record_leave_it_open_whether_the_host_is_as_found) {
  auto verdict = MadeRecord{availability}.probes(0, 50, 5).fault().judged();
  EXPECT_FALSE(verdict.restored.has_value());
}

TEST(Verdict, an_empty_record_is_an_error) {
  std::vector<std::string> problems;
  const auto verdict = judge(parse_record("", problems));
  EXPECT_EQ(verdict.kind, Verdict::Kind::error);
  EXPECT_EQ(problems.size(), 1u);
}

TEST(Comparison, tells_better_and_worse_by_the_intervals) {
  const auto good = MadeRecord{availability}.probes(0, 50, 5).fault().restored().end().record();
  const auto bad = MadeRecord{availability}
                       .probes(0, 10, 5)
                       .probes(10, 20, 2, false, "status 503")
                       .probes(20, 50, 5)
                       .fault()
                       .restored()
                       .end()
                       .record();
  const auto told = differences_between(good, judge(good), bad, judge(bad));
  const auto has = [&](const std::string& line) {
    return std::find(told.begin(), told.end(), line) != told.end();
  };
  EXPECT_TRUE(has("service playlist, during the faults: availability 100% → 50%: worse"))
      << ::testing::PrintToString(told);
  EXPECT_TRUE(
      has("service playlist, during the faults: p50 5 ms → 5 ms: no difference that could not be chance"))
      << ::testing::PrintToString(told);
  EXPECT_EQ(differences_between(bad, judge(bad), good, judge(good)).at(1),
            "service playlist, during the faults: availability 50% → 100%: better");
}

TEST(SteadyState, is_the_slo_and_what_is_expected_whichever_is_stricter) {
  const auto record =
      MadeRecord{"  - {service: playlist, availability: \">= 99%\", latency_p99: \"<= 100ms\"}\n"}.record();
  const auto steady = steady_state(record.scenario, "playlist");
  EXPECT_EQ(to_string(*steady.availability), ">= 99.9%");
  EXPECT_EQ(to_string(*steady.latency_p99), "<= 100ms");
}

TEST(SteadyState, an_expected_outage_is_no_part_of_it) {
  const auto record = MadeRecord{"  - {service: playlist, availability: \"< 50%\"}\n"}.record();
  EXPECT_EQ(to_string(*steady_state(record.scenario, "playlist").availability), ">= 99.9%");
}

TEST(SteadyState, that_does_not_hold_is_told_with_its_numbers) {
  const auto record = MadeRecord{availability}.probes(0, 5, 5).probes(5, 10, 2, false, "status 503").record();
  const auto problems = steady_state_problems(record);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0],
            "service playlist: availability >= 99.9%: 50% (50 of 100 probes, 95% CI 39.8–60.2%, mostly "
            "\"status 503\")");
}

TEST(SteadyState, one_unlucky_probe_of_a_hundred_keeps_no_drill_from_starting) {
  EXPECT_TRUE(steady_state_problems(
                  MadeRecord{availability}.probes(0, 9.9, 5).probe(9.9, 2, false, "status 503").record())
                  .empty());
}

TEST(SteadyState, a_service_that_never_answers_does_not_hold_it) {
  EXPECT_EQ(steady_state_problems(MadeRecord{availability}.record()),
            std::vector<std::string>{"service playlist: no probe was answered"});
}

TEST(Recovers, counts_from_the_last_faults_end_to_the_first_good_answer_that_stays) {
  const std::string expect = "  - {service: playlist, recovers_within: 10s}\n";
  MadeRecord made{expect};
  made.probes(0, 10, 5).probes(10, 33, 900).probes(33, 50, 5).fault().restored().end();
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::pass) << verdict.expectations.at(0).evidence;
  EXPECT_NEAR(*verdict.services.at(0).time_to_recover_s, 3.005, 0.001);
}

TEST(Recovers, not_when_it_is_back_too_late_or_never) {
  const std::string expect = "  - {service: playlist, recovers_within: 2s}\n";
  const auto late = MadeRecord{expect}
                        .probes(0, 10, 5)
                        .probes(10, 33, 900)
                        .probes(33, 50, 5)
                        .fault()
                        .restored()
                        .end()
                        .judged();
  EXPECT_EQ(late.kind, Verdict::Kind::fail);
  const auto never = MadeRecord{expect}
                         .probes(0, 10, 5)
                         .probes(10, 50, 1, false, "connection refused")
                         .fault()
                         .restored()
                         .end()
                         .judged();
  EXPECT_EQ(never.kind, Verdict::Kind::fail);
  EXPECT_EQ(
      never.expectations[0].evidence,
      "not back in the 20.0 s watched after the last fault's end (200 of 200 probes after it were bad)");
}

TEST(Recovers, a_service_that_was_good_all_along_is_not_called_down_where_the_drill_ends_early) {
  const std::string expect = "  - {service: playlist, recovers_within: 2s}\n";
  const auto verdict = MadeRecord{expect}.probes(0, 30.3, 5).fault().restored().end(30.6).judged();
  EXPECT_EQ(verdict.services.at(0).recovery, "good, watched too short to be sure");
  EXPECT_EQ(verdict.expectations.at(0).outcome, Outcome::inconclusive);
}

TEST(Recovers, a_short_spell_of_good_answers_is_no_recovery) {
  const std::string expect = "  - {service: playlist, recovers_within: 5s}\n";
  const auto verdict = MadeRecord{expect}
                           .probes(0, 10, 5)
                           .probes(10, 31, 900)
                           .probes(31, 32, 5)
                           .probes(32, 40, 900)
                           .probes(40, 50, 5)
                           .fault()
                           .restored()
                           .end()
                           .judged();
  EXPECT_NEAR(*verdict.services.at(0).time_to_recover_s, 10.005, 0.001);
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
}

TEST(Recovers, watched_for_less_than_expected_is_inconclusive) {
  const std::string expect = "  - {service: playlist, recovers_within: 60s}\n";
  const auto verdict =
      MadeRecord{expect}.probes(0, 10, 5).probes(10, 50, 900).fault().restored().end().judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
}

TEST(Recovers, an_act_is_over_once_it_is_done_not_when_its_window_ends) {
  MadeRecord made{"  - {service: playlist, recovers_within: 5s}\n"};
  made.probes(0, 10, 5)
      .probes(10, 13, 1, false, "connection refused")
      .probes(13, 50, 5)
      .fault(true, "", true)
      .restored()
      .end();
  const auto verdict = made.judged();
  EXPECT_NEAR(*verdict.services.at(0).time_to_recover_s, 3.005, 0.001);
}

TEST(Latency, a_timeout_is_a_slow_answer_and_a_refusal_is_none) {
  MadeRecord made{"  - {service: playlist, latency_p99: \"<= 400ms\"}\n"};
  made.probes(0, 10, 5)
      .probes(10, 20, 1000, false, "timed out after 1s")
      .probes(20, 25, 0.2, false, "connection refused")
      .probes(25, 50, 5);
  const auto verdict = made.fault().restored().end().judged();
  auto& during = verdict.services.at(0).windows.at("fault");
  EXPECT_EQ(during.probes, 200);
  EXPECT_EQ(during.timed, 150);
  EXPECT_EQ(during.timeouts, 100);
  EXPECT_EQ(during.latency->p99_ms, 1000);
  EXPECT_EQ(verdict.expectations.at(0).outcome, Outcome::violated);
}

}  // namespace
}  // namespace squall
