// Drills whose users come by a redirect: the fault meets a health check and none of them, and the drill is no
// pass.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/own_network.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

using ::testing::HasSubstr;

// HTTP on every address, one answer for whatever is asked, over connections that are kept.
std::shared_ptr<void> serve_http(std::uint16_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener, 512) != 0)
    throw std::runtime_error("listen");
  std::thread{[listener] {
    for (;;) {
      const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      std::thread{[client] {
        std::string asked;
        char part[4096];
        for (ssize_t got; (got = ::recv(client, part, sizeof part, 0)) > 0;) {
          asked.append(part, static_cast<std::size_t>(got));
          for (std::size_t end; (end = asked.find("\r\n\r\n")) != std::string::npos;
               asked.erase(0, end + 4)) {
            constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if (::send(client, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
          }
        }
        ::close(client);
      }}.detach();
    }
  }}.detach();
  return {};
}

class TargetShareDrill : public ::testing::Test {
 protected:
  static constexpr std::uint16_t users_port = 7080, port = 7081;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    ::squall::testing::shell(
        fmt::format("nft 'table ip sq_share_drill {{ chain pre {{ type nat hook prerouting priority dstnat; "
                    "tcp dport {} redirect to :{}; }}; }}'",
                    users_port, port));
  }
  std::string drill(const std::string& fault, const std::string& with, const std::string& probe) const {
    return fmt::format(R"(scenario: share
baseline: {{for: 1s}}
recovery: {{for: 500ms}}
services:
  shop:
    processes: {{listens_on: {}}}
    probes: [{{{}, every: 20ms, timeout: 2s}}]
method:
  - {{name: slow, fault: {}, on: {{service: shop}}, with: {}, for: 3s}}
expect:
  - {{service: shop, availability: ">= 90%"}}
)",
                       port, probe, fault, with);
  }
  // From the other end, where the users are, and a health check that goes straight to the server.
  int run_beside_a_health_check(Squall& squall, const std::string& text) const {
    int code = -1;
    network.at_the_other_end([&] {
      std::atomic<bool> over = false;
      std::thread check{[&] {
        network.at_the_other_end([&] {
          while (!over)
            ::squall::testing::shell(
                fmt::format("curl -s -m 1 -o /dev/null http://10.99.0.1:{}/ || true; sleep 0.5", port));
        });
      }};
      code = squall.drill(text);
      over = true;
      check.join();
    });
    return code;
  }

  ::squall::testing::OwnNetwork network;
  ::squall::testing::ServerProcess shop{[] { return serve_http(port); }};
};

TEST_F(TargetShareDrill, a_fault_that_met_a_health_check_and_no_user_is_inconclusive) {
  for (auto [fault, with, probe] :
       {std::tuple{"network.delay", "{delay: 200ms, mechanism: userland}", R"(http: "http://10.99.0.1:{}/")"},
        {"tcp.latency", "{latency: 200ms}", R"(tcp: "10.99.0.1:{}")"}}) {
    Squall squall;
    EXPECT_EQ(
        run_beside_a_health_check(squall, drill(fault, with, fmt::format(fmt::runtime(probe), users_port))),
        3)
        << squall.output();
    const auto report = squall.report();
    const auto& dose = report.at("faults").at(0).at("dose");
    EXPECT_FALSE(dose.at("verified").as_bool()) << dose;
    EXPECT_THAT(std::string(dose.at("reason").as_string()),
                HasSubstr(fmt::format("by a redirect of port {} to {} (NAT)", users_port, port)));
    EXPECT_EQ(dose.at("witness").at("met").to_number<int>(), 0) << dose;
    EXPECT_GT(dose.at("witness").at("passed").to_number<int>(), 50) << dose;
    EXPECT_EQ(dose.at("witness").at("service").as_string(), "shop");
    EXPECT_THAT(squall.output(), HasSubstr("probes of shop met the fault"));
    for (auto* format : {"html", "markdown", "terminal", "json"}) {
      const auto told =
          run({bin_dir() + "/squall", "report", squall.run_folder().string(), "--format", format});
      EXPECT_THAT(told,
                  HasSubstr(std::string(format) == "json" ? "\"witness\"" : "probes of shop met the fault"))
          << format;
    }
  }
}

TEST_F(TargetShareDrill, where_the_probes_meet_it_the_dose_holds_beside_others_who_do_not) {
  Squall squall;
  ASSERT_EQ(run_beside_a_health_check(squall, drill("network.delay", "{delay: 50ms, mechanism: userland}",
                                                    fmt::format("http: \"http://10.99.0.1:{}/\"", port))),
            0)
      << squall.output();
  const auto dose = squall.report().at("faults").at(0).at("dose");
  EXPECT_TRUE(dose.at("verified").as_bool()) << dose;
  EXPECT_GT(dose.at("witness").at("met").to_number<int>(), 50) << dose;
  EXPECT_EQ(dose.at("witness").at("passed").to_number<int>(), 0) << dose;
}

}  // namespace
}  // namespace squall::test
