#include "controller/engine/active_runs.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/server_process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

class ActiveRuns : public ::testing::Test {
 protected:
  test::TemporaryDirectory folder;
  const char* before = std::getenv("XDG_RUNTIME_DIR");
  const std::string kept = before ? before : "";

  void SetUp() override { ::setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1); }
  void TearDown() override {
    before ? ::setenv("XDG_RUNTIME_DIR", kept.c_str(), 1) : ::unsetenv("XDG_RUNTIME_DIR");
  }

  fs::path registry() const { return folder.path() / "squall"; }
  static bool lists_this_process() {
    const auto found = running_drills();
    return std::any_of(found.drills.begin(), found.drills.end(),
                       [](auto& drill) { return drill.pid == ::getpid(); });
  }
};

TEST_F(ActiveRuns, are_found_while_they_run_with_who_started_them) {
  {
    const ActiveRun run{"slow", "runs/1"};
    const auto found = running_drills();
    const auto own = std::find_if(found.drills.begin(), found.drills.end(),
                                  [](auto& drill) { return drill.pid == ::getpid(); });
    ASSERT_NE(own, found.drills.end());
    EXPECT_EQ(own->scenario, "slow");
    EXPECT_NE(own->started_by, "");
    EXPECT_EQ(who_halted_us(), "");
    say_who_halts(*own);
    EXPECT_EQ(who_halted_us(), own->started_by);
  }
  EXPECT_FALSE(lists_this_process());
  EXPECT_TRUE(fs::is_empty(registry()));
}

TEST_F(ActiveRuns, are_not_registered_through_somebodys_link) {
  fs::create_directory(folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", registry());
  EXPECT_EQ(running_drills().problems.size(), 1u);
  try {
    const ActiveRun run{"slow", "runs/1"};  // where another folder is safe
    EXPECT_TRUE(lists_this_process());
  } catch (const std::exception& refused) {
    EXPECT_NE(std::string(refused.what()).find("cannot be trusted: it is a symbolic link"), std::string::npos)
        << refused.what();
  }
  EXPECT_TRUE(fs::is_empty(folder.path() / "elsewhere"));
}

TEST_F(ActiveRuns, entries_that_somebody_else_wrote_are_no_drills) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  fs::create_directory(registry());
  const auto entry = registry() / "1.json";
  {
    const ActiveRun run{"slow", "runs/1"};
    fs::copy_file(registry() / (std::to_string(::getpid()) + ".json"), entry);
  }
  ASSERT_TRUE(lists_this_process());
  ASSERT_EQ(::chown(entry.c_str(), 65534, 65534), 0);
  EXPECT_FALSE(lists_this_process());
}

}  // namespace
}  // namespace squall
