// A year of schedules against an independent calendar, and what becomes of occurrences.
#include <ctime>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controller/serve/store/store.hpp"
#include "controller/serve/when/schedules.hpp"
#include "tests/serve/daemon.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/servers.hpp"

namespace squall::test {
namespace {

struct Year {
  const char *zone, *cron, *minutes, *hours, *weekdays;
};

class ScheduleYear : public testing::TestWithParam<Year> {};

TEST_P(ScheduleYear, is_that_of_zoneinfo) {
  const auto& with = GetParam();
  const auto cron = serve::parse_cron(with.cron);
  ASSERT_TRUE(cron) << cron.error();
  std::istringstream expected{run({"python3", source_dir() + "/tests/serve/year.py", with.zone, "2026",
                                   with.minutes, with.hours, with.weekdays})};
  std::vector<std::int64_t> by_python, by_us;
  for (std::int64_t at; expected >> at;)
    by_python.push_back(at);
  ASSERT_GT(by_python.size(), 50u);
  for (std::int64_t at = by_python.front() - 1; by_us.size() < by_python.size();) {
    at = serve::next_due(*cron, with.zone, at).value();
    by_us.push_back(at);
  }
  EXPECT_EQ(by_us, by_python);
}

constexpr const char* all_hours = "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23";
constexpr const char* all_days = "0,1,2,3,4,5,6";
INSTANTIATE_TEST_SUITE_P(
    Zones, ScheduleYear,
    testing::Values(Year{"Europe/Vienna", "*/15 * * * *", "0,15,30,45", all_hours, all_days},
                    Year{"America/New_York", "30 1-3 * * sun", "30", "1,2,3", "0"},
                    Year{"Australia/Lord_Howe", "*/10 0-4 * * *", "0,10,20,30,40,50", "0,1,2,3,4", all_days},
                    Year{"Asia/Kolkata", "45 23 * * mon-fri", "45", "23", "1,2,3,4,5"},
                    Year{"Africa/Cairo", "0,30 0,23 * * *", "0,30", "0,23", all_days}));

TEST(Schedules, one_that_is_wrong_is_told_with_its_place_and_the_others_stay) {
  const std::string text =
      "time_zone: Europe/Vienna\nschedules:\n  good: {drill: a, cron: \"0 10 * * tue\"}\n"
      "  bad: {drill: a, cron: \"0 25 * * *\"}\n";
  Diagnostics wrong{"schedules.yaml", text};
  const auto read = serve::read_schedules(text, wrong);
  EXPECT_EQ(read.schedules.size(), 1u);
  EXPECT_EQ(read.schedules.at("good").time_zone, "Europe/Vienna");
  EXPECT_NE(wrong.render().find("schedules.yaml:4:25: error: expected for the hour 0 to 23"),
            std::string::npos)
      << wrong.render();
}

TEST(Schedules, jitter_is_that_of_the_seed_and_less_than_its_most) {
  serve::ScheduleSpec spec;
  spec.jitter = Duration{600'000'000'000};
  std::set<std::int64_t> seen;
  for (std::int64_t due = 0; due < 100; ++due) {
    const auto jitter = serve::jitter_of(spec, "weekly", 7, due * 3600);
    EXPECT_EQ(jitter, serve::jitter_of(spec, "weekly", 7, due * 3600));
    EXPECT_TRUE(jitter >= 0 && jitter < 600) << jitter;
    seen.insert(jitter);
  }
  EXPECT_GT(seen.size(), 70u);
}

TEST(Schedules, windows_and_freezes_are_local) {
  serve::Schedules all;
  all.freezes.push_back({"2026-12-24", "2026-12-26", "holidays"});
  serve::ScheduleSpec spec;
  spec.time_zone = "Asia/Kolkata";
  spec.windows.push_back({{"mon"}, "09:00", "17:00"});
  EXPECT_EQ(serve::not_now(all, spec, 1'780'285'000), "");         // Monday 2026-06-01 09:06 there, 03:36 UTC
  EXPECT_NE(serve::not_now(all, spec, 1'780'284'000 - 3600), "");  // 07:50 there
  EXPECT_EQ(serve::not_now(all, spec, 1'798'050'600 + 0).substr(0, 6), "frozen");  // 2026-12-24 00:00 there
}

// A daemon with one drill and a schedule for it, and a store in which it was due a moment ago.
class ServeSchedule : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    daemon.drills.write("drill.yaml",
                        "scenario: site-dies\nsquad: web\nbaseline: {for: 300ms}\nrecovery: {for: 300ms}\n"
                        "method: [{fault: process.kill, on: {service: site}, for: 500ms}]\n"
                        "expect: [{service: site, availability: \">= 90%\"}]\n");
    landscape("");
  }
  void landscape(const std::string& alerts) {
    daemon.drills.write(
        "landscape.yaml",
        fmt::format("squads: {{web: {{}}}}\n{}services:\n  site: {{squad: web, processes: {{pid: {}}}, "
                    "probes: [{{http: \"http://{}/\", every: 10ms}}]}}\n",
                    alerts, site.process->pid(), watched.address()));
  }
  // Due in each of the five minutes before this one, and not again while the test lasts.
  void schedule(const std::string& more) {
    std::string minutes;
    for (std::int64_t back = 5; back > 0; --back)
      minutes += fmt::format("{}{}", minutes.empty() ? "" : ",", (std::time(nullptr) / 60 - back) % 60);
    daemon.drills.write(
        "schedules.yaml",
        fmt::format("schedules:\n  often: {{drill: site-dies, cron: \"{} * * * *\"{}}}\n", minutes, more));
  }
  // Begins it, ends it, and turns back until when it had decided, as if it had been away for so long.
  void start_after(std::int64_t seconds) {
    daemon.start();
    daemon.kill();
    {
      serve::Database store{(daemon.state.path() / "serve/store.sqlite").string()};
      store.run("UPDATE schedules SET cursor=?", {std::int64_t{std::time(nullptr)} - seconds});
      store.run("DELETE FROM occurrences");
    }
    daemon.start();
  }
  boost::json::array occurrences() { return daemon.get("vera", "/api/v1/occurrences").json().as_array(); }

  Server site = start_nginx("location / { return 200 ok; }");
  Server watched = start_nginx("location / { return 200 ok; }");
  Daemon daemon;
};

TEST_F(ServeSchedule, one_that_was_missed_is_run_once_and_the_others_are_told) {
  schedule(", missed: run_once, deadline: 1h");
  start_after(300);
  const auto all = occurrences();
  ASSERT_GE(all.size(), 3u);
  int started = 0, missed = 0;
  for (auto& one : all) {
    started += one.at("state").as_string() == "started";
    missed += std::string(one.at("reason").as_string()).starts_with("missed");
  }
  EXPECT_EQ(started, 1);
  EXPECT_GE(missed, 2);
  const auto run = daemon.ended(std::string(all.at(0).at("run").as_string()));
  ASSERT_FALSE(run.empty());
  EXPECT_EQ(run.at("verdict").as_string(), "pass") << run;
  daemon.kill();
  daemon.start();
  EXPECT_EQ(daemon.get("vera", "/api/v1/runs").json().as_array().size(), 1u)
      << "each occurrence at most once";
  const auto next = daemon.get("vera", "/api/v1/schedules").json();
  EXPECT_EQ(next.at(0).at("next").as_array().size(), 10u);
}

TEST_F(ServeSchedule, none_begins_while_an_alert_is_firing) {
  const auto body =
      R"({"status":"success","data":{"alerts":[{"labels":{"alertname":"DiskFull"},"state":"firing"}]}})";
  const auto prometheus = start_nginx(fmt::format("location /api/v1/alerts {{ return 200 '{}'; }}", body));
  landscape(fmt::format("alert_sources: [{{prometheus: \"http://{}\"}}]\n", prometheus.address()));
  schedule(", missed: run_once");
  start_after(180);
  std::string reason;
  for (int i = 0; i < 100 && reason.find("DiskFull") == std::string::npos; ++i) {
    const auto all = occurrences();
    reason = all.at(0).at("reason").as_string();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  EXPECT_EQ(reason, "the alert DiskFull is firing");
  EXPECT_TRUE(daemon.get("vera", "/api/v1/runs").json().as_array().empty());
}

TEST_F(ServeSchedule, what_is_paused_or_frozen_is_skipped_with_its_reason) {
  schedule(", missed: run_once");
  daemon.start();
  EXPECT_EQ(daemon.post("vera", "/api/v1/schedules/often/pause").status, 403);
  const auto squall = [&](const std::string& what) {
    ::setenv("SQUALL_TOKEN", daemon.token("wolf").c_str(), 1);
    return run({bin_dir() + "/squall", "schedule", what, "often", "--server",
                fmt::format("http://127.0.0.1:{}", daemon.port)});
  };
  const auto next = squall("next");
  EXPECT_EQ(std::count(next.begin(), next.end(), '\n'), 10) << next;
  EXPECT_EQ(squall("pause"), "often is paused\n");
  EXPECT_NE(squall("list").find("paused by wolf"), std::string::npos);
  start_after(180);
  EXPECT_EQ(occurrences().at(0).at("reason").as_string(), "paused by wolf");
  EXPECT_TRUE(daemon.get("vera", "/api/v1/runs").json().as_array().empty());
}

}  // namespace
}  // namespace squall::test
