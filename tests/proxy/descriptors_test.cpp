// `squall toxiproxy` with few descriptors.
#include <cstdio>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/proxy/proxy_under_test.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using namespace testing;

class Descriptors : public ::testing::Test {
 protected:
  // With a proxy in front of the server; `upstream` is a name or an address.
  void start(int soft, int hard, const std::string& upstream = "127.0.0.1") {
    const auto config = files.write("proxies.json", fmt::format(R"([{{"name":"a","listen":"127.0.0.1:{}","upstream":"{}:{}"}}])", port, upstream, server.port()));
    const auto api = test::free_port();
    squall.emplace(test::ServerProcess::Start{
        .command = {"prlimit", fmt::format("--nofile={}:{}", soft, hard), test::bin_dir() + "/squall", "toxiproxy", "--config", config, "--listen", fmt::format("127.0.0.1:{}", api)}, .port = api, .user = {}});
  }

  test::TemporaryDirectory files;
  const std::uint16_t port = test::free_port();
  const Upstream server{echo};
  std::optional<test::ServerProcess> squall;
};

TEST_F(Descriptors, the_soft_limit_is_none) {
  start(128, 1024);
  std::vector<Client> clients;
  for (int i = 0; i < 150; ++i) {
    clients.emplace_back(port);
    clients.back().send("ping");
    ASSERT_EQ(clients.back().bytes(4), "ping") << i;
  }
}

}  // namespace
}  // namespace squall
