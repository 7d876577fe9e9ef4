// A process that stands still notices it, and takes nobody's silence for an answer.
#include "controller/engine/presence.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "controller/probes/prober.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using test::LoopbackServer;
using test::run_until;
using Clock = std::chrono::steady_clock;

TEST(Presence, a_gap_is_more_than_a_busy_machine_makes) {
  EXPECT_FALSE(gap_between({0, 0}, {400'000'000, 400'000'000}));
  const auto gap = gap_between({1'000'000'000, 5'000'000'000}, {4'000'000'000, 8'000'000'000});
  ASSERT_TRUE(gap);
  EXPECT_EQ(gap->from_t, 5'000'000'000);
  EXPECT_EQ(gap->to_t, 8'000'000'000);
  EXPECT_EQ(gap->suspended_ns, 0);
}

TEST(Presence, the_sleep_of_the_host_shows_between_the_clocks) {
  const auto gap = gap_between({0, 0}, {50'000'000, 3600'000'000'000});
  ASSERT_TRUE(gap);
  EXPECT_EQ(gap->suspended_ns, 3599'950'000'000);
}

struct Watched {
  Watched(const ProbeSpec& spec)
      : prober(loop, Clock::now(),
               [this](auto&, auto&, const ProbeSample& sample) { seen.push_back(sample); }),
        presence(loop, [this](const Gap& gap, std::chrono::nanoseconds stalled) {
          gaps.push_back(gap);
          for (auto& one : prober.stood_still(stalled))
            skipped.push_back(one);
        }) {
    prober.before_each([this] { presence.look(); });
    prober.add("shop", spec);
    prober.run();
  }
  void run_for(std::chrono::milliseconds span) {
    const auto end = Clock::now() + span;
    run_until(loop, [&] { return Clock::now() >= end; });
  }
  void finish() {
    bool finished = false;
    prober.finish([&] { finished = true; });
    EXPECT_TRUE(run_until(loop, [&] { return finished; }));
  }

  boost::asio::io_context loop;
  std::vector<ProbeSample> seen;
  std::vector<Gap> gaps;
  std::vector<NotAsked> skipped;
  Prober prober;
  Presence presence;
};

TEST(Presence, what_was_due_in_a_standstill_is_skipped_and_counted_and_what_was_on_its_way_says_nothing) {
  boost::asio::io_context servers;  // on a thread of its own: the service is well all the time
  LoopbackServer server(servers, test::http_answers([](auto&) { return test::http_answer(200); }));
  std::thread serving([&] { servers.run(); });
  {
    Watched drill({.object = server.url(), .every = {20'000'000}, .timeout = {300'000'000}});
    drill.run_for(400ms);
    std::this_thread::sleep_for(1500ms);  // as SIGSTOP would
    drill.run_for(400ms);
    drill.finish();
    ASSERT_GE(drill.gaps.size(), 1u);
    std::set<std::int64_t> due;
    std::int64_t not_asked = 0;
    for (auto& sample : drill.seen) {
      EXPECT_TRUE(sample.ok || sample.unseen) << sample.error;
      due.insert(sample.due_ns);
    }
    for (auto& one : drill.skipped) {
      not_asked += one.n;
      for (std::int64_t i = 0; i < one.n; ++i)
        due.insert(one.due_ns + i * one.every_ns);
    }
    EXPECT_GE(not_asked, 70) << "1.5 s are 75 probes";
    // Each time that was due is accounted for, and only once.
    EXPECT_EQ(due.size(), drill.seen.size() + static_cast<std::size_t>(not_asked));
    EXPECT_EQ((*due.rbegin() - *due.begin()) / 20'000'000 + 1, static_cast<std::int64_t>(due.size()));
  }
  servers.stop();
  serving.join();
}

// A hang is a hang, whether or not squall stood still in the middle of it.
TEST(Presence, a_question_that_waits_its_whole_time_beside_the_standstill_has_failed) {
  boost::asio::io_context servers;
  LoopbackServer server(servers, [](auto&) {});
  std::thread serving([&] { servers.run(); });
  {
    Watched drill({.object = server.url(), .every = {10'000'000'000}, .timeout = {1'000'000'000}});
    drill.run_for(200ms);
    const auto before = Clock::now();
    std::this_thread::sleep_for(1200ms);
    ASSERT_TRUE(run_until(drill.loop, [&] { return !drill.seen.empty(); }));
    EXPECT_GE(Clock::now() - before, 1900ms) << "it gets the time that the standstill took";
    EXPECT_EQ(drill.seen[0].error, "timed out after 1s");
    EXPECT_FALSE(drill.seen[0].unseen);
  }
  servers.stop();
  serving.join();
}

TEST(Presence, those_still_unanswered_at_the_end_have_failed) {
  boost::asio::io_context loop;
  LoopbackServer server(loop, [](auto&) {});
  std::vector<ProbeSample> seen;
  Prober prober(loop, Clock::now(), [&](auto&, auto&, const ProbeSample& sample) { seen.push_back(sample); });
  prober.add("shop", {.object = server.url(), .every = {50'000'000}, .timeout = {60'000'000'000}});
  prober.run();
  ASSERT_TRUE(run_until(loop, [&] { return prober.waiting().size() >= 3; }));
  EXPECT_EQ(prober.waiting()[0].service, "shop");
  prober.give_up("no answer by the end of the drill");
  EXPECT_GE(seen.size(), 3u);
  for (auto& sample : seen)
    EXPECT_EQ(sample.error, "no answer by the end of the drill");
  EXPECT_TRUE(prober.waiting().empty());
}

}  // namespace
}  // namespace squall
