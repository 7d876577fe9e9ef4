#include "controller/hosts/far_command.hpp"

#include <chrono>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>

#include "controller/engine/together.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

Finished run(const std::string& script, std::chrono::nanoseconds limit = 60s) {
  boost::asio::io_context io;
  Finished out;
  boost::asio::co_spawn(io, run_beside(io, {"sh", "-c", script}, limit),
                        [&](std::exception_ptr, Finished done) { out = std::move(done); });
  io.run();
  return out;
}

TEST(FarCommand, tells_what_was_printed_and_how_it_ended) {
  const auto done = run("echo out; echo err >&2; exit 3");
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "out\n");
  EXPECT_EQ(done.err, "err\n");
  EXPECT_FALSE(done.late);
}

TEST(FarCommand, is_ended_at_its_limit_with_what_it_started) {
  const auto start = Clock::now();
  const auto done = run("echo so far; sleep 60", 300ms);
  EXPECT_TRUE(done.late);
  EXPECT_EQ(done.out, "so far\n");
  EXPECT_LT(Clock::now() - start, 30s);
}

TEST(FarCommand, several_take_as_long_as_one) {
  boost::asio::io_context io;
  std::vector<int> all{1, 2, 3, 4, 5, 6, 7, 8};
  int ended = 0;
  const auto start = Clock::now();
  boost::asio::co_spawn(io,
                        together(io, all,
                                 [&](int) -> boost::asio::awaitable<void> {
                                   co_await run_beside(io, {"sleep", "2"}, 60s);
                                   ++ended;
                                 }),
                        [](std::exception_ptr) {});
  io.run();
  EXPECT_EQ(ended, 8);
  EXPECT_LT(Clock::now() - start, 12s) << "one after another is 16 s";
}

TEST(FarCommand, of_its_words_stays_what_matters) {
  EXPECT_EQ(in_one_line("Warning: Permanently added 'h1' (ED25519) to the list of known hosts.\r\n\nssh: "
                        "connect to host h1 port 22: No route to host\r\n"),
            "ssh: connect to host h1 port 22: No route to host");
  EXPECT_EQ(in_one_line("one\ntwo\none\n"), "one; two");
  const auto cut = in_one_line(std::string(2000, 'x'));
  EXPECT_LT(cut.size(), 700u);
  EXPECT_TRUE(cut.starts_with("… x"));
}

}  // namespace
}  // namespace squall
