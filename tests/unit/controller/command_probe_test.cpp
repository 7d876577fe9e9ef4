#include <gtest/gtest.h>

#include <signal.h>

#include <boost/asio/ip/tcp.hpp>

#include "controller/probes/kinds.hpp"
#include "tests/support/server_process.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using test::ask;
using test::outcome;
using test::run_until;

class CommandProbe : public ::testing::Test {
 protected:
  std::string ask_once(const std::string& command) {
    return outcome(ask(loop_, *command_probe(loop_, {.object = command})));
  }
  // The pid that a command wrote into a file of the directory; 0 while there is none.
  pid_t pid_in(const std::string& name) {
    pid_t pid = 0;
    std::ifstream(directory_.path() / name) >> pid;
    return pid;
  }
  boost::asio::io_context loop_;
  test::TemporaryDirectory directory_;
};

TEST_F(CommandProbe, exit_code_0_is_healthy_and_anything_else_is_told) {
  EXPECT_EQ(ask_once("true"), "ok");
  EXPECT_EQ(ask_once("test -d / && exit 0"), "ok");
  EXPECT_EQ(ask_once("exit 7"), "exit code 7");
  EXPECT_EQ(ask_once("echo trying >&2; echo 'no route to host' >&2; exit 2"),
            "exit code 2: no route to host");
  EXPECT_EQ(ask_once("kill -9 $$"), "killed by signal 9");
  EXPECT_EQ(ask_once("no-such-program-here 2>/dev/null"), "exit code 127");
}

TEST_F(CommandProbe, a_command_inherits_no_descriptor_of_ours) {
  boost::asio::ip::tcp::acceptor ours(loop_, {boost::asio::ip::address_v4::loopback(), 0});
  EXPECT_EQ(ask_once("test \"$(ls /proc/self/fd | tr '\\n' ' ')\" = '0 1 2 3 '"), "ok");  // 3 is ls's own
}

TEST_F(CommandProbe, giving_up_kills_the_whole_group_and_leaves_no_zombie) {
  const auto probe =
      command_probe(loop_, {.object = "cd " + directory_.path().string() +
                                      "; sh -c 'echo $$ > inner; sleep 1000' & echo $$ > outer; wait"});
  auto question = probe->ask([](auto) { FAIL() << "answered after it was given up"; });
  ASSERT_TRUE(run_until(loop_, [&] { return pid_in("inner") > 0 && pid_in("outer") > 0; }));
  question.reset();
  EXPECT_TRUE(run_until(loop_, [&] { return ::kill(pid_in("outer"), 0) != 0; }))
      << "the shell is still there, or a zombie";
  EXPECT_TRUE(run_until(loop_, [&] {
    std::string state;
    std::ifstream stat("/proc/" + std::to_string(pid_in("inner")) + "/stat");
    stat >> state >> state >> state;
    return state.empty() || state == "Z";  // whoever inherited it may not have reaped it yet
  }));
}

TEST_F(CommandProbe, what_a_command_leaves_in_the_background_ends_with_it) {
  EXPECT_EQ(ask_once("cd " + directory_.path().string() + "; sleep 1000 & echo $! > left"), "ok");
  ASSERT_GT(pid_in("left"), 0);
  EXPECT_TRUE(run_until(loop_, [&] {
    std::string state;
    std::ifstream stat("/proc/" + std::to_string(pid_in("left")) + "/stat");
    stat >> state >> state >> state;
    return state.empty() || state == "Z";
  }));
}

}  // namespace
}  // namespace squall
