// A fault that something met is not one that its target met: users who come another way, by real redirects,
// listeners of others, unix sockets and connections from before, in network namespaces of the test's own.
#include <chrono>
#include <fstream>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/faults/afterwards.hpp"
#include "injector/host/match/endpoint_set.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/servers.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using testing::Client;
using testing::echo_at;
using ::testing::HasSubstr;
using testing::OwnGroup;
using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;
using testing::shell;
using testing::UdpEcho;

constexpr std::uint16_t port = 7071, users_port = 7070;

boost::json::object share_of(const Dose& dose, std::size_t number = 0) {
  return dose.shares.at(number).json();
}

Endpoint own_end(const Client& client) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  ::getsockname(client.fd(), reinterpret_cast<sockaddr*>(&name), &size);
  return endpoint_of(IPPROTO_TCP, reinterpret_cast<const sockaddr*>(&name)).value_or(Endpoint{});
}

// Waits until it holds; what is on its way is counted a moment later.
bool soon(const std::function<bool()>& holds) {
  for (const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
       std::chrono::steady_clock::now() < patience;) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class TargetShare : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override { end_afterwards(); }

  // As a container's published port: users come to another port than the one that is listened on.
  static void redirect_users() {
    shell(
        fmt::format("nft 'table ip sq_share_test {{ chain pre {{ type nat hook prerouting priority dstnat; "
                    "tcp dport {} redirect to :{}; }}; }}'",
                    users_port, port));
  }
  // Connections from the other end, each of so many exchanges; the ends that they had there.
  std::vector<Endpoint> users(std::uint16_t to, int connections, int exchanges = 3,
                              const std::string& address = "10.99.0.1") const {
    std::vector<Endpoint> out;
    network.at_the_other_end([&] {
      for (int i = 0; i < connections; ++i) {
        Client client{address, to};
        out.push_back(own_end(client));
        for (int k = 0; k < exchanges && client.error == 0; ++k)
          client.round_trip_ms();
      }
    });
    return out;
  }
  static RunFault on_listener(const std::string& name, boost::json::object with) {
    return RunFault{name, std::move(with), {{"listens_on", port}}};
  }

  OwnNetwork network;
  ServerProcess server{echo_at(port)};
};

struct Kind {
  const char* fault;
  boost::json::object with;
};
std::vector<Kind> kinds() {
  return {{"network.delay", {{"delay", "100ms"}, {"mechanism", "userland"}}},
          {"network.delay", {{"delay", "100ms"}, {"mechanism", "userland"}, {"direction", "in"}}},
          {"network.delay", {{"delay", "100ms"}, {"mechanism", "kernel"}}},
          {"tcp.latency", {{"latency", "100ms"}}},
          {"network.partition", boost::json::object{}}};
}

TEST_F(TargetShare, users_who_come_by_a_redirect_go_by_the_fault) {
  redirect_users();
  for (auto& [name, with] : kinds()) {
    SCOPED_TRACE(fmt::format("{} {}", name, boost::json::serialize(with)));
    std::optional<RunFault> fault;
    try {
      fault.emplace(name, with, boost::json::object{{"listens_on", port}});
    } catch (const std::exception& e) {
      if (with.contains("mechanism") && with.at("mechanism") == "kernel")
        continue;  // this kernel has no netem
      throw;
    }
    fault->apply();
    users(users_port, 8);
    // Beside them a check that comes straight.
    if (std::string(name) == "network.partition")
      network.at_the_other_end([] { Client probe{"10.99.0.1", port, 300}; });
    else
      users(port, 1);
    auto& running = *fault;
    EXPECT_TRUE(soon(
        [&] { return !running->measure().shares.empty() && running->measure().shares.front().passed > 0; }));
    const auto dose = running->measure();
    EXPECT_FALSE(dose.verified) << boost::json::serialize(dose.json());
    EXPECT_THAT(dose.reason, HasSubstr("of the target went by this fault"));
    EXPECT_THAT(dose.reason, HasSubstr("by a redirect of port 7070 to 7071 (NAT)"));
    EXPECT_EQ(running.undo(), "");
    // What comes after its end is none of its business.
    const auto passed = running->measure().shares.front().passed;
    users(users_port, 1);
    EXPECT_EQ(running->measure().shares.front().passed, passed);
    end_afterwards();
  }
}

TEST_F(TargetShare, users_who_come_straight_meet_it) {
  for (auto& [name, with] : kinds()) {
    if (std::string(name) == "network.partition") continue;
    SCOPED_TRACE(fmt::format("{} {}", name, boost::json::serialize(with)));
    try {
      auto fault = on_listener(name, with);
      fault.apply();
      const auto ends = users(port, 4, 2);
      fault->note_probes("shop", ends);
      EXPECT_TRUE(soon([&] { return fault->measure().witness->met == 4; }));
      const auto dose = fault->measure();
      EXPECT_TRUE(dose.verified) << boost::json::serialize(dose.json());
      EXPECT_EQ(dose.shares.front().passed, 0U) << boost::json::serialize(dose.json());
      EXPECT_GE(dose.shares.front().met, 8U);  // exchanges at least, and more segments
      EXPECT_EQ(dose.witness->met, 4U);
      EXPECT_EQ(dose.witness->passed, 0U);
    } catch (const std::exception& e) {
      if (!with.contains("mechanism") || with.at("mechanism") != "kernel") throw;
    }
    end_afterwards();
  }
}

TEST_F(TargetShare, the_services_own_probes_are_its_witnesses) {
  redirect_users();
  auto slow = on_listener("network.delay", {{"delay", "100ms"}, {"mechanism", "userland"}});
  slow.apply();
  // Most of what the target does goes by, and the probes are among those that do not.
  users(users_port, 8);
  const auto probes = users(port, 3);
  EXPECT_FALSE(slow->measure().verified);
  slow->note_probes("shop", probes);
  EXPECT_TRUE(soon([&] { return slow->measure().witness->met == 3; }));
  auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(boost::json::serialize(dose.witness->json()), R"({"service":"shop","met":3,"passed":0})");
  // Probes that nobody saw come here say nothing.
  slow->note_probes("shop", {endpoint_of(IPPROTO_TCP, std::array<std::uint8_t, 4>{10, 1, 2, 3}, 999)});
  slow->note_probes("shop", users(users_port, 5));
  EXPECT_TRUE(
      soon([&] { return slow->measure().witness->passed == 5 && slow->measure().witness->unseen == 1; }));
  dose = slow->measure();
  EXPECT_FALSE(dose.verified);
}

TEST_F(TargetShare, connections_that_the_kernel_does_not_track_go_by_a_proxy) {
  shell(
      fmt::format("nft 'table inet sq_share_test {{ chain pre {{ type filter hook prerouting priority raw; "
                  "ip saddr 10.99.0.2 tcp dport {} notrack; }}; }}'",
                  port));
  auto slow = on_listener("tcp.latency", {{"latency", "100ms"}});
  slow.apply();
  users(port, 6);
  users(port, 1, 5, "fd99::1");
  const auto dose = slow->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_THAT(dose.reason, HasSubstr("does not track (a notrack rule)"));
}

TEST_F(TargetShare, a_pool_of_connections_from_before_goes_by) {
  for (auto [name, with] : {std::pair{"tcp.latency", boost::json::object{{"latency", "100ms"}}},
                            {"http.delay", {{"delay", "100ms"}}},
                            {"network.refuse", {}}}) {
    std::vector<std::unique_ptr<Client>> pool;
    for (int i = 0; i < 5; ++i)
      pool.push_back(std::make_unique<Client>("10.99.0.1", port));
    auto fault = on_listener(name, with);
    fault.apply();
    for (int i = 0; i < 20; ++i)
      for (auto& client : pool)
        client->round_trip_ms();
    Client fresh{"10.99.0.1", port};
    if (fresh.error == 0 && std::string(name) == "tcp.latency") fresh.round_trip_ms();
    const auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << name << boost::json::serialize(dose.json());
    EXPECT_THAT(dose.reason, HasSubstr("on connections that were there before")) << name;
    fault.undo();
    end_afterwards();
  }
}

TEST_F(TargetShare, what_comes_by_a_listener_of_another_cgroup_goes_by) {
  OwnGroup group;
  // The listener is made first, as systemd makes one for a service; the service moves to its cgroup and asks
  // somebody itself.
  constexpr std::uint16_t own = 7072, backend = 7073;
  const ServerProcess asked{echo_at(backend)};
  std::unique_ptr<ServerProcess> service;
  try {
    service = std::make_unique<ServerProcess>([&]() -> std::shared_ptr<void> {
      auto listener = std::make_shared<testing::TcpEcho>(own);
      std::ofstream{group.folder + "/cgroup.procs"} << ::getpid() << std::flush;
      std::thread{[] {
        Client asks{"127.0.0.1", backend};
        for (;; std::this_thread::sleep_for(std::chrono::milliseconds(20)))
          asks.round_trip_ms();
      }}.detach();
      return listener;
    });
  } catch (const std::exception&) {
    GTEST_SKIP() << "no cgroup v2 here";
  }
  for (auto* name : {"network.delay", "network.partition"}) {
    boost::json::object with;
    if (std::string(name) == "network.delay") with = {{"delay", "100ms"}, {"mechanism", "userland"}};
    RunFault fault{name, with, {{"pid", service->pid()}}};
    fault.apply();
    for (int i = 0; i < 4; ++i)
      users(own, 3, 20);
    ASSERT_TRUE(soon([&] { return fault->measure().samples > 0; })) << name;
    const auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << name << boost::json::serialize(dose.json());
    EXPECT_THAT(dose.reason, HasSubstr("socket activation")) << name;
  }
}

TEST_F(TargetShare, users_of_a_unix_socket_go_by) {
  const test::TemporaryDirectory folder;
  const auto path = (folder.path() / "service.sock").string();
  constexpr std::uint16_t own = 7074;
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  OwnGroup group;
  std::unique_ptr<ServerProcess> service;
  try {
    service = std::make_unique<ServerProcess>(
        [&]() -> std::shared_ptr<void> {
          const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
          if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
              ::listen(listener, 16) != 0)
            throw std::runtime_error("listen");
          std::thread{[listener] {
            for (;;)
              ::accept(listener, nullptr, nullptr);
          }}.detach();
          auto also = std::make_shared<testing::TcpEcho>(own);
          std::thread{[] {
            for (;;)
              testing::ping("10.99.0.2", 8125, 1, 1000, 20);  // its statistics
          }}.detach();
          return also;
        },
        group.folder);
  } catch (const std::exception&) {
    GTEST_SKIP() << "no cgroup v2 here";
  }
  std::vector<Fd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(clients.back().get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  }
  RunFault slow{"network.delay", {{"delay", "5ms"}, {"mechanism", "userland"}}, {{"pid", service->pid()}}};
  slow.apply();
  ASSERT_TRUE(soon([&] { return slow->measure().samples > 3; }));
  const auto dose = slow->measure();
  EXPECT_FALSE(dose.verified) << boost::json::serialize(dose.json());
  EXPECT_THAT(dose.reason, HasSubstr("3 connections came by unix sockets (" + path +
                                     "), which this fault does not reach"));
  slow.undo();
  // Of a listener the same, beside fewer who come to its port.
  RunFault late{"tcp.latency", {{"latency", "100ms"}}, {{"listens_on", own}}};
  late.apply();
  users(own, 1);
  EXPECT_THAT(late->measure().reason, HasSubstr("3 connections came by unix sockets"));
  users(own, 3);
  EXPECT_TRUE(soon([&] { return late->measure().verified; })) << late->measure().reason;
}

TEST_F(TargetShare, users_who_come_by_udp_go_by_a_fault_on_connections) {
  UdpEcho same{port};
  for (auto [name, with] :
       {std::pair{"tcp.latency", boost::json::object{{"latency", "100ms"}}}, {"network.refuse", {}}}) {
    auto fault = on_listener(name, with);
    fault.apply();
    users(port, 1);
    EXPECT_TRUE(fault->measure().verified) << name << fault->measure().reason;
    network.at_the_other_end([] { EXPECT_EQ(testing::ping("10.99.0.1", port, 30, 500).lost(), 0U); });
    const auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << name;
    EXPECT_THAT(dose.reason,
                HasSubstr("30 datagrams came to the same port by UDP, which this fault does not reach"))
        << name;
    EXPECT_EQ(share_of(dose, 1).at("passed"), 30);
    EXPECT_EQ(fault.undo(), "");
    end_afterwards();
  }
}

TEST_F(TargetShare, chatter_of_an_idle_device_is_no_dose) {
  shell("ip route add 224.0.0.0/4 dev sqa");
  for (auto* mechanism : {"userland", "kernel"}) {
    std::optional<RunFault> slow;
    try {
      slow.emplace("network.delay", boost::json::object{{"delay", "5ms"}, {"mechanism", mechanism}},
                   boost::json::object{{"interface", "sqa"}});
    } catch (const std::exception&) {
      continue;  // this kernel has no netem
    }
    auto& fault = *slow;
    fault.apply();
    // As MLD reports and mDNS: to groups, whether anybody listens or not.
    for (int i = 0; i < 5; ++i)
      testing::ping("224.0.0.251", 5353, 1, 1000, 1);
    EXPECT_TRUE(soon([&] { return fault->measure().samples >= 5; })) << mechanism;
    auto dose = fault->measure();
    EXPECT_FALSE(dose.verified) << mechanism;
    EXPECT_THAT(dose.reason, HasSubstr("nothing but packets to groups came")) << mechanism;
    users(port, 2);
    EXPECT_TRUE(soon([&] { return fault->measure().verified; })) << mechanism << fault->measure().reason;
  }
}

TEST_F(TargetShare, of_a_part_that_was_asked_for_nothing_else_counts) {
  auto slow =
      on_listener("network.delay", {{"delay", "100ms"}, {"mechanism", "userland"}, {"to", {"fd99::2"}}});
  slow.apply();
  users(port, 8);
  users(port, 2, 5, "fd99::1");
  const auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << boost::json::serialize(dose.json());
  EXPECT_EQ(share_of(dose).at("passed"), 0);
  slow.undo();
  auto others = on_listener("network.delay",
                            {{"delay", "100ms"}, {"mechanism", "userland"}, {"except", {"10.99.0.2"}}});
  others.apply();
  users(port, 8);
  users(port, 2, 3, "fd99::1");
  EXPECT_TRUE(others->measure().verified) << others->measure().reason;
  EXPECT_EQ(share_of(others->measure()).at("passed"), 0);
}

}  // namespace
}  // namespace squall
