#include <gtest/gtest.h>

#include "controller/probes/kinds.hpp"
#include "tests/support/servers.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using test::ask;
using test::outcome;

TEST(ProcessProbe, is_healthy_while_a_process_matches_and_again_when_another_takes_its_place) {
  boost::asio::io_context loop;
  test::Server redis = test::start_redis();
  const auto port = redis.process->port();
  TargetSpec target;
  target.listens_on = port;
  const auto probe = process_probe(loop, {.process = target});
  EXPECT_EQ(outcome(ask(loop, *probe)), "ok");
  EXPECT_EQ(outcome(ask(loop, *probe)), "ok");
  redis.process->stop();
  EXPECT_EQ(outcome(ask(loop, *probe)), "no process matches listens_on=" + std::to_string(port));
  redis = test::start_redis({}, port);
  EXPECT_EQ(outcome(ask(loop, *probe)), "ok");
}

TEST(ProcessProbe, a_target_that_cannot_be_read_is_told) {
  boost::asio::io_context loop;
  TargetSpec target;
  target.pidfile = "/no/such/file.pid";
  EXPECT_NE(outcome(ask(loop, *process_probe(loop, {.process = target}))).find("/no/such/file.pid"),
            std::string::npos);
}

}  // namespace
}  // namespace squall
