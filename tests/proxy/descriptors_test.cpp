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
  // With a proxy in front of the server; `upstream` is a name or an address. And one in front of no host,
  // which is asked first, and a timer is set: a sanitizer's check of an object's type takes descriptors, the
  // first time for each type.
  void start(int soft, int hard, const std::string& upstream = "127.0.0.1") {
    const auto nowhere = test::free_port();
    const auto config = files.write(
        "proxies.json",
        fmt::format(
            R"([{{"name":"a","listen":"127.0.0.1:{}","upstream":"{}:{}"}},{{"name":"b","listen":"127.0.0.1:{}","upstream":"{}:1"}}])",
            port, upstream, server.port(), nowhere, std::string(300, 'x')));
    const auto api = test::free_port();
    squall.emplace(test::ServerProcess::Start{
        .command = {"prlimit", fmt::format("--nofile={}:{}", soft, hard), test::bin_dir() + "/squall",
                    "toxiproxy", "--config", config, "--listen", fmt::format("127.0.0.1:{}", api)},
        .port = api,
        .user = {}});
    EXPECT_EQ(Client{nowhere}.rest(), "");
    const auto toxics = fmt::format("http://127.0.0.1:{}/proxies/a/toxics", api);
    test::run(
        {"curl", "-sf", "-d", R"({"name":"timer","type":"latency","attributes":{"latency":1}})", toxics});
    Client slow{port};
    slow.send("ping");
    EXPECT_EQ(slow.bytes(4), "ping");
    test::run({"curl", "-sf", "-X", "DELETE", toxics + "/timer"});
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

TEST_F(Descriptors, who_waits_for_one_is_served_when_others_have_gone) {
  // One of both leaves a last descriptor for a client, and none for its server.
  for (int limit : {60, 61})
    for (auto* upstream : {"127.0.0.1", "localhost"}) {
      start(limit, limit, upstream);
      std::vector<Client> clients;
      for (int i = 0; i < 50; ++i) {
        clients.emplace_back(port);
        clients.back().send("ping");
      }
      for (std::size_t i = 0; i < clients.size(); ++i) {
        if (i >= 15) clients[i - 15].reset();
        EXPECT_EQ(clients[i].bytes(4), "ping") << i << " of " << limit << " to " << upstream;
      }
    }
}

}  // namespace
}  // namespace squall
