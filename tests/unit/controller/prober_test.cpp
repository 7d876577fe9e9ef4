#include "controller/probes/prober.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include <boost/asio/steady_timer.hpp>

#include "controller/probes/schedule.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/support/servers.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using test::http_answer;
using test::http_answers;
using test::LoopbackServer;
using test::run_until;
using Clock = std::chrono::steady_clock;

Duration milliseconds(std::int64_t count) {
  return {count * 1'000'000};
}

class ProberTest : public ::testing::Test {
 protected:
  struct Seen {
    std::string service, probe;
    ProbeSample sample;
  };

  Prober prober() {
    return {loop_, start_,
            [this](const std::string& service, const std::string& probe, const ProbeSample& sample) {
              seen_.push_back({service, probe, sample});
            }};
  }
  bool probe_for(Prober& prober, std::chrono::nanoseconds span) {
    prober.run();
    const auto end = Clock::now() + span;
    run_until(loop_, [&] { return Clock::now() >= end; });
    return finish(prober);
  }
  bool finish(Prober& prober) {
    bool finished = false;
    prober.finish([&] { finished = true; });
    EXPECT_FALSE(finished);
    return run_until(loop_, [&] { return finished; });
  }
  // By their due times, which differ.
  std::map<std::int64_t, ProbeSample> by_due() const {
    std::map<std::int64_t, ProbeSample> samples;
    for (const Seen& seen : seen_)
      samples[seen.sample.due_ns] = seen.sample;
    return samples;
  }

  boost::asio::io_context loop_;
  Clock::time_point start_ = Clock::now();
  std::vector<Seen> seen_;
};

TEST_F(ProberTest, due_times_are_exact_multiples_of_the_period) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  Prober prober = this->prober();
  prober.add("playlist", {.name = "health", .object = server.url(), .every = milliseconds(20)});
  ASSERT_TRUE(probe_for(prober, 400ms));
  const auto samples = by_due();
  ASSERT_GE(samples.size(), 15u);
  EXPECT_EQ(samples.size(), seen_.size());
  const std::int64_t first = samples.begin()->first;
  std::int64_t k = 0;
  for (const auto& [due, sample] : samples) {
    EXPECT_EQ(due, first + k++ * 20'000'000);
    EXPECT_TRUE(sample.ok) << sample.error;
    EXPECT_EQ(sample.code, 200);
    EXPECT_GT(sample.latency_ns, 0);
    EXPECT_TRUE(sample.phases);
  }
  EXPECT_EQ(seen_[0].service, "playlist");
  EXPECT_EQ(seen_[0].probe, "health");
}

// The server takes everything in and answers nothing for 500 ms. A prober that waits for each answer before
// it asks again would see one slow answer here.
TEST_F(ProberTest, probes_due_while_the_server_stalls_are_slow_each_by_what_was_left_of_the_stall) {
  bool stalled = false;
  std::vector<std::shared_ptr<LoopbackServer::Connection>> waiting;
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    connection.received.clear();
    if (stalled)
      waiting.push_back(connection.shared_from_this());
    else
      connection.send(http_answer(200));
  });
  Clock::time_point stall_began, stall_ended;
  boost::asio::steady_timer begin(loop_, 200ms), end(loop_, 700ms);
  begin.async_wait([&](auto) {
    stalled = true;
    stall_began = Clock::now();
  });
  end.async_wait([&](auto) {
    stalled = false;
    stall_ended = Clock::now();
    for (const auto& connection : waiting)
      connection->send(http_answer(200));
  });
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(10), .timeout = milliseconds(5000)});
  ASSERT_TRUE(probe_for(prober, 900ms));

  int within = 0;
  for (const auto& [due, sample] : by_due()) {
    EXPECT_TRUE(sample.ok) << sample.error;
    const auto at = start_ + std::chrono::nanoseconds(due);
    if (at < stall_began + 20ms || at > stall_ended - 20ms) continue;
    ++within;
    const auto left = stall_ended - at;
    EXPECT_GE(std::chrono::nanoseconds(sample.latency_ns), left);
    EXPECT_LE(std::chrono::nanoseconds(sample.latency_ns), left + 150ms);
  }
  EXPECT_GE(within, 44);  // each of the about 46 that were due
}

TEST_F(ProberTest, no_answer_is_a_failure_as_long_as_the_timeout_and_never_silences_the_next) {
  LoopbackServer server(loop_, [](auto&) {});
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(20), .timeout = milliseconds(100)});
  ASSERT_TRUE(probe_for(prober, 400ms));
  ASSERT_GE(seen_.size(), 15u);
  for (const Seen& seen : seen_) {
    EXPECT_FALSE(seen.sample.ok);
    EXPECT_EQ(seen.sample.error, "timed out after 100ms");
    EXPECT_GE(seen.sample.latency_ns, 100'000'000);
  }
}

TEST_F(ProberTest, a_late_loop_skips_none_and_counts_from_when_they_were_due) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(10), .timeout = milliseconds(1000)});
  boost::asio::steady_timer stall(loop_, 100ms);
  Clock::time_point stall_ended;
  stall.async_wait([&](auto) {
    std::this_thread::sleep_for(300ms);
    stall_ended = Clock::now();
  });
  ASSERT_TRUE(probe_for(prober, 600ms));
  const auto samples = by_due();
  std::int64_t previous = samples.begin()->first - 10'000'000;
  int late = 0;
  for (const auto& [due, sample] : samples) {
    EXPECT_EQ(due - std::exchange(previous, due), 10'000'000);
    EXPECT_TRUE(sample.ok) << sample.error;
    const auto at = start_ + std::chrono::nanoseconds(due);
    if (at < stall_ended - 290ms || at > stall_ended) continue;
    ++late;
    EXPECT_GE(std::chrono::nanoseconds(sample.latency_ns), stall_ended - at);
  }
  EXPECT_GE(late, 28);
}

TEST_F(ProberTest, answers_that_came_while_the_loop_was_late_are_not_called_timeouts) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(25), .timeout = milliseconds(500)});
  boost::asio::steady_timer stall(loop_, 100ms);
  stall.async_wait([&](auto) { std::this_thread::sleep_for(505ms); });
  ASSERT_TRUE(probe_for(prober, 900ms));
  for (const Seen& seen : seen_)
    EXPECT_TRUE(seen.sample.ok) << seen.sample.error;
}

TEST_F(ProberTest, what_cannot_be_started_is_reported_and_not_skipped) {
  LoopbackServer server(loop_, [](auto&) {});
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(10), .timeout = milliseconds(100)});
  boost::asio::steady_timer stall(
      loop_, 50ms);  // longer than period and timeout: 30 are due at once, 12 may be asked
  stall.async_wait([&](auto) { std::this_thread::sleep_for(300ms); });
  ASSERT_TRUE(probe_for(prober, 500ms));
  const auto samples = by_due();
  EXPECT_EQ(samples.size(), seen_.size());
  EXPECT_EQ((samples.rbegin()->first - samples.begin()->first) / 10'000'000 + 1,
            static_cast<std::int64_t>(samples.size()));
  std::set<std::string> errors;
  for (const auto& [due, sample] : samples)
    errors.insert(sample.error);
  EXPECT_EQ(errors, (std::set<std::string>{"not started: 12 still unanswered", "timed out after 100ms"}));
}

TEST_F(ProberTest, finish_awaits_what_is_in_flight_and_starts_nothing_new) {
  LoopbackServer server(loop_, [](auto&) {});
  Prober prober = this->prober();
  prober.add("playlist", {.object = server.url(), .every = milliseconds(10), .timeout = milliseconds(300)});
  prober.run();
  ASSERT_TRUE(run_until(loop_, [&] { return server.connections() >= 5; }));
  EXPECT_TRUE(seen_.empty());
  const auto before = Clock::now() - start_;
  ASSERT_TRUE(finish(prober));
  EXPECT_GE(seen_.size(), 5u);
  for (const Seen& seen : seen_)
    EXPECT_LE(std::chrono::nanoseconds(seen.sample.due_ns), before);
}

TEST_F(ProberTest, destroying_it_in_flight_reports_nothing_more) {
  LoopbackServer server(loop_, [](auto&) {});
  {
    Prober prober = this->prober();
    prober.add("playlist", {.object = server.url(), .every = milliseconds(5)});
    prober.add("cache",
               {.kind = ProbeSpec::Kind::redis, .object = server.address(), .every = milliseconds(5)});
    prober.add("check", {.kind = ProbeSpec::Kind::command, .object = "sleep 100", .every = milliseconds(50)});
    prober.run();
    ASSERT_TRUE(run_until(loop_, [&] { return server.connections() >= 6; }));
  }
  loop_.restart();
  loop_.run_for(50ms);
  EXPECT_TRUE(seen_.empty());
}

TEST_F(ProberTest, a_probe_that_cannot_be_understood_fails_with_the_reason) {
  Prober prober = this->prober();
  prober.add("cache",
             {.kind = ProbeSpec::Kind::tcp, .name = "port", .object = "db1", .every = milliseconds(10)});
  ASSERT_TRUE(probe_for(prober, 50ms));
  ASSERT_FALSE(seen_.empty());
  EXPECT_EQ(seen_[0].sample.error, "expected host:port, got \"db1\"");
}

TEST_F(ProberTest, two_hundred_probes_a_second_of_a_real_server_reach_the_rate_that_was_asked) {
  const test::Server nginx = test::start_nginx("location / { return 200 ok; }");
  Prober prober = this->prober();
  for (int i = 0; i < 20; ++i)
    prober.add(
        "playlist",
        {.name = std::to_string(i), .object = "http://" + nginx.address() + "/", .every = milliseconds(100)});
  ASSERT_TRUE(probe_for(prober, 1500ms));
  EXPECT_GE(seen_.size(), 280u);  // of 300
  EXPECT_LE(seen_.size(), 320u);
  const auto good =
      std::count_if(seen_.begin(), seen_.end(), [](const Seen& seen) { return seen.sample.ok; });
  EXPECT_GE(static_cast<double>(good), 0.99 * static_cast<double>(seen_.size()));
}

TEST(Spread, the_first_probe_is_due_at_once_and_the_others_are_far_from_each_other) {
  Spread spread;
  std::set<std::int64_t> offsets;
  for (int i = 0; i < 1000; ++i)
    offsets.insert(spread.next(1s).count());
  EXPECT_EQ(*offsets.begin(), 0);
  EXPECT_LT(*offsets.rbegin(), 1'000'000'000);
  std::int64_t previous = 0, widest = 0;
  for (const auto offset : offsets)
    widest = std::max(widest, offset - std::exchange(previous, offset));
  EXPECT_LE(widest, 2'700'000);  // perfect would be 1 ms
  EXPECT_EQ(spread.next(2s), 0s);
}

TEST(Spread, every_question_that_may_be_on_its_way_in_time_fits_into_the_bound) {
  EXPECT_EQ(most_in_flight(100ms, 1s), 12u);
  EXPECT_EQ(most_in_flight(1s, 1s), 3u);
  EXPECT_EQ(most_in_flight(10s, 1s), 2u);
}

}  // namespace
}  // namespace squall
