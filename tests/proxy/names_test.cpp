// Names with several addresses, by a hosts file that only the test's threads see.
#include <cerrno>
#include <fstream>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "tests/proxy/proxy_under_test.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using namespace testing;

class Names : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  // In a thread with a hosts file of its own; the threads that it starts have it too.
  void with_hosts(const std::string& text, const std::function<void()>& act) {
    const auto hosts = files.write("hosts", text);
    std::thread{[&] {
      ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
      ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
      ASSERT_EQ(::mount(hosts.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr), 0);
      act();
    }}.join();
  }
  test::TemporaryDirectory files;
};

TEST_F(Names, both_kinds_of_addresses_listen_on_ipv4) {
  with_hosts("::1 both.test\n127.0.0.1 both.test\n", [] {
    boost::asio::io_context io;
    proxy::Engine engine{io};
    proxy::Proxy one{engine, {.name = "test", .listen = "both.test:0", .upstream = "127.0.0.1:1"}};
    one.enable();
    EXPECT_EQ(one.listen(), fmt::format("127.0.0.1:{}", one.port()));
  });
}

TEST_F(Names, every_address_of_the_upstream_is_tried) {
  with_hosts("::1 server.test\n127.0.0.1 server.test\n", [] {
    const Upstream server{echo};  // on 127.0.0.1 alone
    ProxyUnderTest proxy{fmt::format("server.test:{}", server.port())};
    Client client{proxy.port()};
    client.send("ping");
    EXPECT_EQ(client.bytes(4), "ping");
    EXPECT_EQ(proxy.statistics().unreachable, 0U);
  });
}

TEST_F(Names, nobody_at_any_address_is_a_server_out_of_reach) {
  with_hosts("::1 server.test\n127.0.0.1 server.test\n", [] {
    ProxyUnderTest proxy{"server.test:1"};
    Client client{proxy.port()};
    EXPECT_EQ(client.rest(), "");
    EXPECT_EQ(proxy.statistics().unreachable, 1U);
  });
}

}  // namespace
}  // namespace squall
