// process.pause on real processes, and what its inverse and that of a kernel file leave alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "injector/host/cgroups/kernel_file.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/sleeper.hpp"

namespace squall {
namespace {

using test::Sleeper;
using testing::RunFault;

class Pause : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  static char state(const Sleeper& process) { return read_process_stat(process.pid())->state; }

  test::TemporaryDirectory folder;
  const std::string exe = (folder.path() / "sqpaused").string();
  Sleeper one{{.executable = exe}}, other{{.executable = exe}};
};

TEST_F(Pause, stops_processes_and_lets_them_go_on) {
  RunFault pause{"process.pause", {}, {{"exe", exe}}};
  EXPECT_EQ(pause->targets().size(), 2u);
  pause.apply();
  EXPECT_EQ(state(one), 'T');
  EXPECT_EQ(state(other), 'T');
  const auto dose = pause->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.measured.at("processes"), 2);
  EXPECT_EQ(pause.undo(true), "");
  EXPECT_NE(state(one), 'T');
  EXPECT_NE(state(other), 'T');
  EXPECT_TRUE(pause->measure().verified) << "the last look before the undo stands";
}

TEST_F(Pause, is_not_verified_once_somebody_lets_one_go_on) {
  RunFault pause{"process.pause", {}, {{"exe", exe}}};
  pause.apply();
  ::kill(one.pid(), SIGCONT);
  const auto dose = pause->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "processes: 2 prescribed, 1 measured");
  other.kill();
  EXPECT_EQ(pause.undo(true), "") << "one runs already, one is gone: neither is a conflict";
}

TEST_F(Pause, takes_as_many_as_are_asked_for_and_says_where_the_input_is_wrong) {
  RunFault pause{"process.pause", {{"count", "50%"}}, {{"exe", exe}}};
  pause.apply();
  EXPECT_EQ((state(one) == 'T') + (state(other) == 'T'), 1);
  EXPECT_THROW((RunFault{"process.pause", {}, {{"exe", exe}}}.apply()), std::runtime_error)
      << "one of them is stopped already";
  pause.undo();
  EXPECT_THROW((RunFault{"process.pause", {{"count", 0}}, {{"exe", exe}}}), std::runtime_error);
  EXPECT_THROW((RunFault{"process.pause", {}, {{"exe", exe + "-not"}}}), std::runtime_error);
}

class KernelFile : public Pause {
 protected:
  std::string file(const Sleeper& process) const {
    return "/proc/" + std::to_string(process.pid()) + "/oom_score_adj";
  }
  Change written(const Sleeper& process) {
    Transaction host;
    kernel_file::set(host, file(process), "500", "make it the first to go");
    return host.changes().front();
  }
  static UndoOutcome undo(const Change& change) {
    return find_undo_verb(change.inverse->verb)->carry_out(change.inverse->with).outcome;
  }
};

TEST_F(KernelFile, is_put_back_once) {
  const auto before = read_file(file(one));
  const auto change = written(one);
  EXPECT_EQ(undo(change), UndoOutcome::already) << "nothing was written yet";
  change.act();
  EXPECT_EQ(trimmed(*read_file(file(one))), "500");
  EXPECT_EQ(undo(change), UndoOutcome::undone);
  EXPECT_EQ(read_file(file(one)), before);
  EXPECT_EQ(undo(change), UndoOutcome::already);
}

TEST_F(KernelFile, that_somebody_else_wrote_or_that_is_gone_is_left_alone) {
  const auto change = written(one);
  change.act();
  write_file(file(one), "300", "the test");
  EXPECT_EQ(undo(change), UndoOutcome::conflict);
  EXPECT_EQ(trimmed(*read_file(file(one))), "300");
  one.kill();
  EXPECT_EQ(undo(change), UndoOutcome::already);
}

}  // namespace
}  // namespace squall
