// What this host lacks before anything is sent is nothing that a service did.
#include "controller/http/own_trouble.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "controller/probes/kinds.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/support/own_network.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using test::ask;
using test::LoopbackServer;

std::vector<std::unique_ptr<Probe>> probes_of(boost::asio::io_context& loop, http::Client& client,
                                              const std::string& address) {
  std::vector<std::unique_ptr<Probe>> out;
  out.push_back(tcp_probe(loop, {.object = address}));
  out.push_back(redis_probe(loop, {.object = address}));
  out.push_back(http_probe(client, {.object = "http://" + address + "/"}));
  out.push_back(postgres_probe(loop, {.object = "postgresql://nobody@" + address + "/shop"}));
  return out;
}

TEST(OwnTrouble, is_known_by_number_and_by_text) {
  EXPECT_TRUE(is_own_trouble(EADDRNOTAVAIL));
  EXPECT_TRUE(is_own_trouble(EMFILE));
  EXPECT_FALSE(is_own_trouble(ECONNREFUSED));
  EXPECT_FALSE(is_own_trouble(ENETUNREACH)) << "no route is what a user of this host would meet";
  EXPECT_TRUE(is_own_text("connect to 10.0.0.1: cannot assign requested address"));
  EXPECT_FALSE(is_own_text("connection refused"));
  EXPECT_FALSE(is_own_text(""));
}

void expect_nothing_is_asked_without_a_descriptor() {
  boost::asio::io_context loop;
  LoopbackServer server(loop, [](auto&) {});
  http::Client client(loop);
  const auto probes = probes_of(loop, client, server.address());
  loop.run_for(std::chrono::milliseconds(20));
  const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(lowest);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(has_descriptors_left());
  rlimit none{static_cast<rlim_t>(lowest), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_FALSE(has_descriptors_left());
  for (auto& probe : probes) {
    const auto answer = ask(loop, *probe);
    EXPECT_TRUE(answer.unasked) << answer.error;
    EXPECT_FALSE(answer.ok);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(ask(loop, *probes.front()).ok);
}

void expect_nothing_is_asked_without_a_port() {
  if (::geteuid() != 0) GTEST_SKIP() << "a network of its own needs root";
  testing::OwnNetwork network;
  testing::shell("echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range");
  boost::asio::io_context loop;
  LoopbackServer server(loop, [](auto&) {});
  ASSERT_EQ(server.port(), 40000) << "which is the only port there is";
  http::Client client(loop);
  for (auto& probe : probes_of(loop, client, server.address())) {
    const auto answer = ask(loop, *probe);
    EXPECT_TRUE(answer.unasked) << answer.error;
    EXPECT_TRUE(answer.error.ends_with("cannot assign requested address") ||
                answer.error.ends_with("Cannot assign requested address"))
        << answer.error;
  }
}

// In this order: the sanitizer needs a descriptor to look at an object of a class that it has not seen
// before, and fails without one.
TEST(OwnTrouble, without_a_port_or_a_descriptor_nothing_is_asked) {
  expect_nothing_is_asked_without_a_port();
  expect_nothing_is_asked_without_a_descriptor();
}

}  // namespace
}  // namespace squall
