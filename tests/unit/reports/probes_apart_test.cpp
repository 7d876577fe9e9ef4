// A service with several probes is as good as each of them: many of one kind outvote nobody.
#include <gtest/gtest.h>

#include "reports/render/live.hpp"
#include "reports/render/render.hpp"
#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;
using testing::second;

ProbeSample sample(double due, bool ok, double latency_ms = 5) {
  return {.due_ns = static_cast<std::int64_t>(due * 1e9),
          .latency_ns = static_cast<std::int64_t>(latency_ms * 1e6),
          .ok = ok,
          .error = ok ? "" : "status 500"};
}

// 50 probes a second of health that succeed, and beside them one a second of another kind.
MadeRecord health_beside(const std::string& expect, const std::string& other, auto&& works) {
  MadeRecord made{expect};
  for (int i = 0; i < 2500; ++i)
    made.line(i / 50.0, "probe", to_event("playlist", "health", sample(i / 50.0, true)));
  for (int i = 0; i < 50; ++i)
    made.line(i, "probe", to_event("playlist", other, sample(i + 0.5, works(i))));
  made.fault().restored().end();
  return made;
}

TEST(Probes, one_that_always_fails_is_not_hidden_by_many_that_succeed) {
  const auto made = health_beside("  - {service: playlist, availability: \">= 95%\"}\n", "order",
                                  [](int i) { return i < 10 || i >= 30; });
  const auto verdict = made.judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail) << "98 % of all probes succeeded";
  const auto& evidence = verdict.expectations.at(0).evidence;
  EXPECT_TRUE(evidence.starts_with("order: 0% (0 of 20 probes")) << evidence;
  EXPECT_NE(evidence.find("1 held"), std::string::npos) << evidence;
  const auto record = made.record();
  for (auto& report : {render_terminal(record, verdict, false), render_markdown(record, verdict)}) {
    EXPECT_NE(report.find("playlist, order"), std::string::npos) << report;
    EXPECT_NE(report.find("playlist, health"), std::string::npos) << report;
  }
  EXPECT_NE(render_json(record, verdict).find("\"probe\": \"order\""), std::string::npos);
  EXPECT_NE(render_html(record, verdict).find("order"), std::string::npos);
}

TEST(Probes, too_few_of_one_are_not_made_up_for_by_another) {
  const auto verdict = health_beside("  - {service: playlist, availability: \">= 99%\"}\n", "order", [](int) {
                         return true;
                       }).judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive);
  EXPECT_TRUE(verdict.expectations.at(0).evidence.starts_with("order: 100% (20 of 20 probes"))
      << verdict.expectations.at(0).evidence;
}

TEST(Probes, one_that_does_not_come_back_keeps_its_service_from_being_back) {
  const auto verdict = health_beside("  - {service: playlist, recovers_within: 5s}\n", "order", [](int i) {
                         return i < 30;
                       }).judged();
  EXPECT_EQ(verdict.kind, Verdict::Kind::fail);
  EXPECT_FALSE(verdict.services.at(0).time_to_recover_s);
}

TEST(Probes, one_that_fails_before_the_fault_is_named) {
  const auto problems = steady_state_problems(
      health_beside("  - {service: playlist, availability: \">= 95%\"}\n", "order", [](int) {
        return false;
      }).record());
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0],
            "service playlist, probe \"order\": none of 10 probes succeeded, mostly \"status 500\"");
}

HaltCondition halts_below(const char* percent, std::int64_t over_s) {
  HaltCondition out;
  out.service = "shop";
  out.availability = Comparison<Percent>{Comparator::less, Percent{std::stod(percent)}};
  out.over = {over_s * second};
  return out;
}

TEST(Halt, by_one_probe_though_the_others_are_well) {
  LiveWindows live{{halts_below("50", 3)}};
  for (int i = 0; i < 500; ++i)
    live.add("shop", "health", sample(i / 50.0, true));
  for (int i = 0; i < 10; ++i)
    live.add("shop", "order", sample(i, false));
  const auto why = live.reason(10 * second);
  EXPECT_NE(why.find("probe \"order\": availability 0.0% over the last 3s"), std::string::npos) << why;
}

// A hang with a timeout of a minute: no answer comes, and none is waited for.
TEST(Halt, by_silence_once_it_has_lasted_as_long_as_the_window) {
  LiveWindows live{{halts_below("50", 3)}};
  for (int i = 0; i < 10; ++i)
    live.add("shop", "order", sample(i, true));
  std::vector<Unanswered> waiting;
  for (int i = 10; i < 13; ++i)
    waiting.push_back({"shop", "order", i * second});
  EXPECT_EQ(live.reason(12'900'000'000, waiting), "") << "the oldest has waited 2.9 s";
  const auto why = live.reason(13'100'000'000, waiting);
  EXPECT_NE(why.find("unanswered so far"), std::string::npos) << why;
  EXPECT_NE(why.find("availability 0.0%"), std::string::npos) << why;
}

TEST(Halt, not_by_a_single_question_that_waits) {
  LiveWindows live{{halts_below("50", 3)}};
  for (int i = 0; i < 20; ++i)
    live.add("shop", "order", sample(i, true));
  EXPECT_EQ(live.reason(20 * second, {{"shop", "order", 16 * second}}), "");
}

TEST(Halt, by_nothing_that_was_not_asked_and_anew_after_a_standstill) {
  LiveWindows live{{halts_below("50", 3)}};
  auto unseen = sample(1, false);
  unseen.unseen = true;
  for (int i = 0; i < 100; ++i)
    live.add("shop", "order", unseen);
  EXPECT_EQ(live.reason(10 * second), "");
  for (int i = 0; i < 100; ++i)
    live.add("shop", "order", sample(i / 10.0, false));
  live.forget();
  EXPECT_EQ(live.reason(10 * second), "");
}

}  // namespace
}  // namespace squall
