#include <csignal>
#include <fstream>

#include <gtest/gtest.h>

#include "injector/system/process.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/servers.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

class ProcessKillDrill : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  Server edge = start_nginx("location / { return 200 ok; }");
  Server other = start_nginx("location / { return 200 ok; }");
  Squall squall;
};

TEST_F(ProcessKillDrill, passes_where_users_do_not_notice) {
  ASSERT_EQ(squall.drill(kill_drill(edge.process->pid(), other.address())), 0) << squall.output();
  const auto report = squall.report();
  EXPECT_EQ(report.at("verdict").as_string(), "pass");
  EXPECT_EQ(report.at("seed").to_number<int>(), 7);
  const auto& dose = report.at("faults").at(0).at("dose");
  EXPECT_TRUE(dose.at("verified").as_bool());
  EXPECT_EQ(dose.at("measured").at("died").to_number<int>(), 1);
  EXPECT_TRUE(report.at("restored").at("clean").as_bool());
  EXPECT_TRUE(squall.journals_gone());
  // Connections made through a fault's proxy end with the session: not while it is watched how services
  // recover.
  const auto record = squall.record();
  EXPECT_LT(record.rfind("\"recovery\""), record.find("\"restored\"")) << record;
  for (auto* file : {"report.html", "report.md", "junit.xml"})
    EXPECT_FALSE(content(squall.run_folder() / file).empty()) << file;
}

TEST_F(ProcessKillDrill, fails_where_users_do_notice) {
  EXPECT_EQ(squall.drill(kill_drill(edge.process->pid(), edge.address())), 1) << squall.output();
  EXPECT_EQ(squall.report().at("expectations").at(0).at("verdict").as_string(), "violated");
}

TEST_F(ProcessKillDrill, is_inconclusive_where_the_signal_kills_nobody) {
  // nginx reads its configuration again on SIGHUP, and lives on.
  EXPECT_EQ(squall.drill(kill_drill(edge.process->pid(), other.address(), "SIGHUP")), 3) << squall.output();
  const auto report = squall.report();
  EXPECT_EQ(report.at("verdict").as_string(), "inconclusive");
  EXPECT_FALSE(report.at("faults").at(0).at("dose").at("verified").as_bool());
}

TEST_F(ProcessKillDrill, does_not_start_where_the_steady_state_does_not_hold) {
  EXPECT_EQ(squall.drill(kill_drill(edge.process->pid(), fmt::format("127.0.0.1:{}", free_port()))), 5)
      << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port())) << "nothing may be killed";
}

TEST_F(ProcessKillDrill, wrong_input_changes_nothing) {
  EXPECT_EQ(squall.drill(kill_drill(edge.process->pid(), other.address(), "SIGKLL")), 2);
  EXPECT_NE(squall.output().find("did you mean \"SIGKILL\"?"), std::string::npos) << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port()));
  std::error_code missing;
  EXPECT_FALSE(fs::exists(squall.runs(), missing));
}

TEST_F(ProcessKillDrill, a_signal_undoes_first_and_reports_after) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  squall.signal(SIGTERM);
  EXPECT_EQ(squall.wait(), 4) << squall.output();
  EXPECT_EQ(squall.report().at("verdict").as_string(), "halted");
  EXPECT_TRUE(squall.journals_gone());
}

TEST_F(ProcessKillDrill, no_signal_takes_the_verdict_away_once_it_is_over) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address()));
  ASSERT_TRUE(squall.wait_for_record("run.ended")) << squall.output();
  int signals = 0;
  for (; squall.runs_still(); ++signals)
    squall.signal(signals % 2 ? SIGTERM : SIGINT);
  EXPECT_GT(signals, 0);
  EXPECT_EQ(squall.wait(), 0) << squall.output();
  EXPECT_NE(squall.output().find("PASS"), std::string::npos) << squall.output();
  EXPECT_NE(squall.output().find("reports in "), std::string::npos) << squall.output();
  EXPECT_EQ(squall.report().at("verdict").as_string(), "pass");
}

TEST_F(ProcessKillDrill, halt_stops_it_from_another_terminal) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", squall.folder.path().c_str(), 1), 0);
  EXPECT_NO_THROW(run({bin_dir() + "/squall", "halt"}));
  EXPECT_EQ(squall.wait(), 4) << squall.output();
}

TEST_F(ProcessKillDrill, undo_halts_it_from_another_terminal) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  EXPECT_NO_THROW(run({bin_dir() + "/squall", "undo", "--state", squall.state().string()}));
  EXPECT_EQ(squall.wait(), 4) << squall.output();
  const auto report = squall.report();
  EXPECT_EQ(report.at("verdict").as_string(), "halted");
  EXPECT_TRUE(report.at("restored").at("clean").as_bool());
  EXPECT_NE(squall.output().find("undone on here by `squall undo`"), std::string::npos) << squall.output();
  // It is not taken for an injector that was lost: it compares the host before it leaves.
  EXPECT_EQ(squall.record().find("\"error\""), std::string::npos) << squall.record();
  EXPECT_EQ(squall.record().find("its journal"), std::string::npos) << squall.record();
}

TEST_F(ProcessKillDrill, an_injector_that_a_signal_ends_is_told_with_that_signal) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  pid_t injector = 0;
  std::ifstream{fmt::format("/proc/{0}/task/{0}/children", squall.pid())} >> injector;
  ASSERT_GT(injector, 0);
  ::kill(injector, SIGTERM);
  EXPECT_EQ(squall.wait(), 5) << squall.output();
  EXPECT_NE(squall.output().find("the injector on here ended because of SIGTERM, everything undone"),
            std::string::npos)
      << squall.output();
}

TEST_F(ProcessKillDrill, tells_who_carried_out_the_journal_of_a_killed_injector) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  pid_t injector = 0;
  std::ifstream{fmt::format("/proc/{0}/task/{0}/children", squall.pid())} >> injector;
  ASSERT_GT(injector, 0);
  ::kill(injector, SIGKILL);
  EXPECT_EQ(squall.wait(), 5) << squall.output();
  EXPECT_NE(
      squall.output().find(
          "here: the injector was lost; its guardian carried out its journal; it could not be compared"),
      std::string::npos)
      << squall.output();
}

TEST_F(ProcessKillDrill, a_killed_squall_leaves_a_record_and_no_journal) {
  squall.start_drill(kill_drill(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  squall.signal(SIGKILL);
  squall.wait();
  EXPECT_TRUE(squall.journals_gone());
  EXPECT_NO_THROW(run({bin_dir() + "/squall", "report", squall.run_folder().string(), "--format", "json"}));
}

TEST_F(ProcessKillDrill, a_plan_tells_what_cannot_be_undone) {
  const auto file =
      squall.folder.write("drill.yaml", kill_drill(edge.process->pid(), other.address())).string();
  EXPECT_EQ(squall.run({"plan", file, "--state", squall.state().string()}), 0);
  EXPECT_NE(squall.output().find("does not come back by itself"), std::string::npos) << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port()));
}

}  // namespace
}  // namespace squall::test
