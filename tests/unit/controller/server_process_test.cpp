#include "tests/support/server_process.hpp"

#include <gtest/gtest.h>

#include "tests/support/servers.hpp"

namespace squall::test {
namespace {

TEST(ServerProcess, real_servers_answer_on_their_ports_until_they_are_stopped) {
  for (const auto& start : std::vector<std::function<Server()>>{
           [] { return start_nginx("location / { return 200 ok; }"); }, [] { return start_redis(); },
           [] { return start_postgres(); }, [] { return start_dnsmasq({}); }}) {
    Server server = start();
    EXPECT_TRUE(port_answers(server.process->port()));
    server.process->stop();
    EXPECT_FALSE(port_answers(server.process->port()));
  }
}

TEST(ServerProcess, a_server_that_ends_at_once_is_an_error_with_its_output) {
  try {
    ServerProcess server(
        {.command = {"sh", "-c", "echo no such configuration; exit 3"}, .port = free_port()});
    FAIL() << "expected an error";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("no such configuration"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace squall::test
