#include "injector/system/targets.hpp"

#include <csignal>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace squall {
namespace {

// As redis-server, which is a link to another program of its package.
TEST(Targets, a_process_that_only_is_called_so_is_told) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const auto child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_NAME, "sq-called-so");
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    [[maybe_unused]] const auto written = ::write(ready[1], "x", 1);
    for (;;)
      ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  TargetSpec target;
  target.exe = "sq-called-so";
  EXPECT_EQ(find_processes(target)->size(), 0U);
  const auto told = none_matches(target);
  EXPECT_TRUE(told.starts_with("no process matches exe=sq-called-so; sq-called-so[" + std::to_string(child) +
                               "] runs /"))
      << told;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(none_matches(target), "no process matches exe=sq-called-so");
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace squall
