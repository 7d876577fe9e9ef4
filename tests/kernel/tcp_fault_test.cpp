// Faults on TCP connections, in front of real services in network namespaces of the test's own, without their
// knowing.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/faults/afterwards.hpp"
#include "injector/faults/claims.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using testing::Client;
using testing::echo_at;
using testing::in_cgroup;
using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;
using testing::TcpEcho;

constexpr std::uint16_t port = 7011, other_port = 7012;

// An answer came, and was not delayed.
::testing::AssertionResult quick(double round_trip_ms) {
  if (round_trip_ms >= 0 && round_trip_ms < 150) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << round_trip_ms << " ms";
}

class TcpFault : public ::testing::Test {
 protected:
  void TearDown() override { end_afterwards(); }

  OwnNetwork network;
  ServerProcess server{echo_at(port)};

  static RunFault fault(const std::string& name, boost::json::object with, std::uint64_t seed = 1) {
    return RunFault{name, with, {{"listens_on", port}}, seed};
  }
  double far_round_trip_ms(const std::string& address = "10.99.0.1") const {
    double out = 0;
    network.at_the_other_end([&] { out = Client{address, port}.round_trip_ms(); });
    return out;
  }
};

TEST_F(TcpFault, latency_hits_new_connections_from_far_and_near_and_its_dose_is_measured) {
  Client before{"127.0.0.1", port};
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  for (auto* address : {"10.99.0.1", "fd99::1"}) {
    const auto took = far_round_trip_ms(address);
    EXPECT_GE(took, 199) << address;
    EXPECT_LT(took, 2000) << address;
  }
  for (auto* address : {"127.0.0.1", "::1", "10.99.0.1"})
    EXPECT_GE(Client(address, port).round_trip_ms(), 199) << address;
  EXPECT_TRUE(quick(before.round_trip_ms()));
  const auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(dose.measured.at("latency_ms").to_number<double>(), 200, 11);
  EXPECT_EQ(dose.measured.at("connections_hit").to_number<int>(), 5);
  EXPECT_EQ(slow.undo(), "");
  EXPECT_TRUE(quick(far_round_trip_ms()));
}

TEST_F(TcpFault, connections_made_meanwhile_outlive_the_fault) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  Client meanwhile{"127.0.0.1", port}, asking{"127.0.0.1", port};
  std::unique_ptr<Client> afar;
  network.at_the_other_end([&] { afar = std::make_unique<Client>("10.99.0.1", port); });
  for (auto* client : {&meanwhile, &asking, afar.get()})
    EXPECT_GE(client->round_trip_ms(), 199);
  asking.send("what waits at the undo");
  EXPECT_EQ(slow.undo(), "");
  EXPECT_EQ(asking.receive(22), "what waits at the undo");
  for (auto* client : {&meanwhile, &asking, afar.get()})
    EXPECT_TRUE(quick(client->round_trip_ms()));
  EXPECT_TRUE(quick(far_round_trip_ms()));
}

TEST_F(TcpFault, connections_that_go_on_learn_of_the_end_of_the_session) {
  const auto before = snapshot_host();
  auto slow = fault("tcp.latency", {{"latency", "50ms"}});
  slow.apply();
  Client idle{"127.0.0.1", port};
  std::unique_ptr<Client> afar;
  network.at_the_other_end([&] { afar = std::make_unique<Client>("10.99.0.1", port); });
  EXPECT_GE(idle.round_trip_ms(), 49);
  EXPECT_GE(afar->round_trip_ms(), 49);
  EXPECT_EQ(slow.undo(), "");
  std::this_thread::sleep_for(
      std::chrono::milliseconds{1'500});  // idle is what has carried nothing for a second
  Client busy{"127.0.0.1", port};
  EXPECT_TRUE(quick(busy.round_trip_ms())) << "who comes after the undo goes to the server itself";
  EXPECT_TRUE(quick(afar->round_trip_ms()));
  ASSERT_EQ(end_afterwards().size(), 1U);
  EXPECT_EQ(idle.receive(1), "");
  EXPECT_EQ(idle.error, 0) << "an end, as of a server that closes an idle connection";
  EXPECT_EQ(afar->receive(1), "");
  EXPECT_EQ(afar->error, ECONNRESET) << "who was just answered is not to take it for the end";
  EXPECT_TRUE(quick(busy.round_trip_ms()));
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_F(TcpFault, connections_that_exist_come_back_through_it_when_they_are_cut) {
  Client before{"127.0.0.1", port};
  ASSERT_GT(before.round_trip_ms(), 0);
  auto slow = fault("tcp.latency", {{"latency", "200ms"}, {"cut", true}});
  slow.apply();
  EXPECT_EQ(before.round_trip_ms(), -1);
  Client again{"127.0.0.1", port};
  EXPECT_GE(again.round_trip_ms(), 199);
  EXPECT_EQ(slow->measure().measured.at("connections_cut").to_number<int>(), 1);
}

TEST_F(TcpFault, other_ports_and_other_peers_are_not_hit) {
  const ServerProcess other{echo_at(other_port)};
  auto slow = fault("tcp.latency", {{"latency", "200ms"}, {"to", {"10.99.0.2", "fd99::2"}}});
  slow.apply();
  EXPECT_TRUE(quick(Client("127.0.0.1", other_port).round_trip_ms()));
  EXPECT_TRUE(quick(Client("127.0.0.1", port).round_trip_ms()));
  EXPECT_GE(far_round_trip_ms(), 199);
  EXPECT_GE(far_round_trip_ms("fd99::1"), 199);
}

bool go_together(Fault& one, Fault& other) {
  return !clash(one.claims(), other.claims());
}

TEST_F(TcpFault, two_of_different_peers_each_hit_their_own) {
  const boost::json::object slow{{"latency", "200ms"}, {"to", {"10.99.0.2", "fd99::/64"}}},
      slower{{"latency", "500ms"}, {"to", {"127.0.0.0/8"}}};
  for (const bool other_order : {false, true}) {
    auto one = fault("tcp.latency", other_order ? slower : slow),
         other = fault("tcp.latency", other_order ? slow : slower);
    EXPECT_TRUE(go_together(one.fault(), other.fault()));
    one.apply();
    other.apply();
    for (auto* address : {"10.99.0.1", "fd99::1"}) {
      const auto took = far_round_trip_ms(address);
      EXPECT_GE(took, 199) << address;
      EXPECT_LT(took, 490) << address;
    }
    EXPECT_GE(Client("127.0.0.1", port).round_trip_ms(), 499);
    EXPECT_TRUE(quick(Client("10.99.0.1", port).round_trip_ms())) << "nobody means it";
    for (auto* each : {&one, &other})
      EXPECT_EQ((*each)->measure().measured.at("connections_hit").to_number<int>(),
                (each == &one) == other_order ? 1 : 2);
    EXPECT_EQ(one.undo(), "");
    EXPECT_GE(other_order ? far_round_trip_ms() : Client("127.0.0.1", port).round_trip_ms(), 199)
        << "the other one goes on";
  }
}

// Our proxy comes from this host, as one of those that are refused.
TEST_F(TcpFault, some_peers_are_slow_while_others_are_refused) {
  RunFault refuse{"network.refuse", {{"to", {"10.99.0.1", "127.0.0.1"}}}, {{"listens_on", port}}};
  auto slow = fault("tcp.latency", {{"latency", "200ms"}, {"to", {"10.99.0.2"}}});
  EXPECT_TRUE(go_together(refuse.fault(), slow.fault()));
  refuse.apply();
  slow.apply();
  EXPECT_GE(far_round_trip_ms(), 199);
  for (auto* address : {"10.99.0.1", "127.0.0.1"})
    EXPECT_EQ(Client(address, port).error, ECONNREFUSED) << address;
  EXPECT_TRUE(refuse->measure().verified) << refuse->measure().reason;
  EXPECT_EQ(slow->measure().measured.at("connections_hit").to_number<int>(), 1);
}

TEST_F(TcpFault, two_of_which_some_peer_is_of_both_exclude_one_another) {
  const auto to = [](boost::json::array peers) {
    boost::json::object with{{"latency", "200ms"}};
    if (!peers.empty()) with["to"] = std::move(peers);
    return fault("tcp.latency", std::move(with));
  };
  EXPECT_FALSE(go_together(to({}).fault(), to({"10.99.0.2"}).fault()));
  EXPECT_FALSE(go_together(to({"10.99.0.2"}).fault(), to({}).fault()));
  EXPECT_FALSE(go_together(to({"10.99.0.0/24", "fd99::1"}).fault(), to({"192.0.2.1", "10.99.0.2"}).fault()));
  EXPECT_FALSE(go_together(to({"fd99::1"}).fault(), to({"fd99::/64"}).fault()));
  EXPECT_TRUE(go_together(to({"10.99.0.0/25"}).fault(), to({"10.99.0.128/25", "fd99::/64"}).fault()));
}

TEST_F(TcpFault, leaves_link_local_addresses_alone) {
  testing::shell("ip addr add fe80::99/64 dev sqa nodad");
  network.at_the_other_end([] { testing::shell("ip addr add fe80::98/64 dev sqb nodad"); });
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  Client near{"fe80::99%sqa", port};
  ASSERT_EQ(near.error, 0);
  const auto took = near.round_trip_ms();
  EXPECT_GE(took, 0);
  EXPECT_LT(took, 150);
  EXPECT_TRUE(quick(far_round_trip_ms("fe80::99%sqb")))
      << "the server could not be shown such a client's address";
}

// As kube-proxy does, which is on many a host.
TEST_F(TcpFault, its_own_packets_bear_no_mark_that_others_drop) {
  testing::shell(
      "nft add table ip others && nft 'add chain ip others out { type filter hook output priority 0; }' && "
      "nft add rule ip others out meta mark and 0xc000 != 0 drop");
  auto slow = fault("tcp.latency", {{"latency", "50ms"}});
  slow.apply();
  EXPECT_GE(Client("127.0.0.1", port).round_trip_ms(), 49);
}

TEST_F(TcpFault, of_one_process_does_not_touch_another) {
  const testing::OwnGroup group;
  network.at_the_other_end([] { TcpEcho far{port}; });
  const ServerProcess target{[] { return std::make_shared<int>(0); }, group.folder};
  RunFault slow{"tcp.latency", {{"latency", "200ms"}, {"port", {port}}}, {{"pid", target.pid()}}};
  slow.apply();
  EXPECT_GE(in_cgroup(group.folder, [] { return Client{"10.99.0.2", port}.round_trip_ms(); }), 199);
  EXPECT_TRUE(quick(Client("10.99.0.2", port).round_trip_ms()));
  EXPECT_EQ(slow->measure().measured.at("connections").to_number<int>(), 1);
}

TEST_F(TcpFault, each_does_what_it_says_and_tells_its_dose) {
  const std::string much(20'000, 'x');
  {
    auto thin = fault("tcp.bandwidth", {{"rate", "20kB/s"}});
    thin.apply();
    Client client{"127.0.0.1", port};
    client.send(much);
    EXPECT_EQ(client.receive(much.size()), much);
    const auto dose = thin->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_NEAR(dose.measured.at("rate_bytes_per_second").to_number<double>(), 20'000, 600);
    EXPECT_NEAR(dose.measured.at("rate_together_bytes_per_second").to_number<double>(), 20'000, 600);
  }
  {
    auto thin = fault("tcp.bandwidth", {{"rate", "20kB/s"}});
    const auto limits = thin->limits();
    EXPECT_TRUE(std::any_of(limits.begin(), limits.end(), [](auto& text) {
      return text.find("10 connections at once carry 200") != std::string::npos;
    }));
    thin.apply();
    {
      std::vector<std::jthread> clients;
      for (int i = 0; i < 4; ++i)
        clients.emplace_back([&] {
          Client client{"127.0.0.1", port};
          client.send(much);
          EXPECT_EQ(client.receive(much.size()), much);
        });
    }
    const auto dose = thin->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_NEAR(dose.measured.at("rate_bytes_per_second").to_number<double>(), 20'000, 1'000);
    EXPECT_NEAR(dose.measured.at("rate_together_bytes_per_second").to_number<double>(), 80'000, 12'000);
  }
  {
    auto pieces = fault("tcp.slicer", {{"size", "100B"}, {"variation", "50B"}});
    pieces.apply();
    Client client{"127.0.0.1", port};
    client.send(much);
    EXPECT_EQ(client.receive(much.size()), much);
    const auto dose = pieces->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_NEAR(dose.measured.at("piece_bytes").to_number<double>(), 100, 15);
  }
  {
    auto limit = fault("tcp.limit_data", {{"bytes", "5kB"}});
    limit.apply();
    Client client{"127.0.0.1", port};
    client.send(much);
    EXPECT_EQ(client.receive(much.size()).size(), 5000U);
    EXPECT_TRUE(limit->measure().verified) << limit->measure().reason;
  }
  {
    auto late = fault("tcp.slow_close", {{"delay", "300ms"}});
    late.apply();
    Client client{"127.0.0.1", port};
    client.send_no_more();
    EXPECT_EQ(client.receive(1), "");
    EXPECT_EQ(client.error, 0);
    const auto dose = late->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
  }
  {
    auto hangs = fault("tcp.timeout", {{"after", "300ms"}});
    hangs.apply();
    Client client{"127.0.0.1", port};
    client.send("lost");
    EXPECT_EQ(client.receive(1), "");
    EXPECT_EQ(client.error, 0);
    EXPECT_TRUE(hangs->measure().verified) << hangs->measure().reason;
  }
  {
    auto reset = fault("tcp.reset_peer", {});
    reset.apply();
    Client client{"127.0.0.1", port};
    client.send("ping");
    EXPECT_EQ(client.receive(1), "");
    EXPECT_EQ(client.error, ECONNRESET);
    EXPECT_TRUE(reset->measure().verified) << reset->measure().reason;
  }
}

TEST_F(TcpFault, its_dose_says_what_was_prescribed) {
  auto reset = fault("tcp.reset_peer", {{"share", "50%"}, {"after", "5ms"}});
  reset.apply();
  for (int i = 0; i < 30; ++i)
    Client{"127.0.0.1", port}.round_trip_ms();
  const auto dose = reset->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.prescribed.at("share_percent").to_number<int>(), 50);
  EXPECT_EQ(dose.prescribed.at("reset_after_ms").to_number<int>(), 5);
  const auto share = dose.measured.at("share_percent").to_number<double>();
  EXPECT_NEAR(share, 100.0 * dose.measured.at("connections_reset").to_number<double>() / 30, 0.1);
  EXPECT_TRUE(share > 15 && share < 85) << share;
  reset.undo();
  auto silent = fault("tcp.timeout", {});
  silent.apply();
  EXPECT_EQ(silent->measure().prescribed, (boost::json::object{{"swallowed", "everything"}}));
}

TEST_F(TcpFault, what_hit_nobody_is_not_verified) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  auto dose = slow->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no connection was made: nobody was hit");
  Client idle{"127.0.0.1", port};
  ASSERT_EQ(idle.error, 0);
  // The kernel answers before the proxy accepts.
  for (int i = 0; i < 500 && (dose = slow->measure()).measured.at("connections") == 0; ++i)
    ::usleep(10'000);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "nothing was sent over the connections: nothing was delayed");
}

TEST_F(TcpFault, a_check_that_connects_and_hangs_up_is_no_connection_that_was_reset_or_closed) {
  for (auto& [name, with] : {std::pair{"tcp.reset_peer", boost::json::object{}},
                             std::pair{"tcp.timeout", boost::json::object{{"after", "1ms"}}}}) {
    auto ends = fault(name, with);
    ends.apply();
    for (int i = 0; i < 3; ++i) {
      Client check{"127.0.0.1", port};
      EXPECT_EQ(check.error, 0);
    }
    ::usleep(200'000);
    const auto dose = ends->measure();
    EXPECT_EQ(dose.measured.at("connections").to_number<int>(), 3);
    EXPECT_FALSE(dose.verified) << name;
    EXPECT_TRUE(dose.reason.starts_with("nothing was sent over the connections")) << dose.reason;
    // Whoever waits for an answer notices.
    Client waits{"127.0.0.1", port};
    waits.send("ping");
    EXPECT_EQ(waits.receive(1), "");
    EXPECT_TRUE(ends->measure().verified) << name << ": " << ends->measure().reason;
    ends.undo();
  }
}

TEST_F(TcpFault, jitter_on_a_stream_is_judged_by_what_was_rolled) {
  auto slow = fault("tcp.latency", {{"latency", "100ms"}, {"jitter", "80ms"}});
  slow.apply();
  Client client{"127.0.0.1", port};
  constexpr int pieces = 150;
  std::thread sender{[&] {
    for (int i = 0; i < pieces; ++i) {
      client.send("ping");
      ::usleep(4000);
    }
  }};
  EXPECT_EQ(client.receive(4 * pieces).size(), 4U * pieces);
  sender.join();
  const auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  // Each waits for the slowest before it.
  EXPECT_GT(dose.measured.at("latency_ms").to_number<double>(), 130);
  EXPECT_NEAR(dose.measured.at("rolled_ms").to_number<double>(), 100, 40);
}

TEST_F(TcpFault, what_it_did_nothing_to_is_not_verified) {
  {
    auto pieces = fault("tcp.slicer", {{"size", "64kB"}});
    pieces.apply();
    EXPECT_GE(Client("127.0.0.1", port).round_trip_ms(), 0);
    EXPECT_EQ(pieces->measure().reason, "nothing that was sent was larger than a piece: nothing was cut");
  }
  {
    auto reset = fault("tcp.reset_peer", {{"after", "60s"}});
    reset.apply();
    {
      Client client{"127.0.0.1", port};
      client.send("ping");
      client.reset();
    }
    ::usleep(100'000);
    EXPECT_EQ(reset->measure().measured.at("connections_reset").to_number<int>(), 0);
    EXPECT_FALSE(reset->measure().verified);
  }
}

TEST_F(TcpFault, a_ramp_delays_ever_more) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow->set_level(0);
  slow.apply();
  Client client{"127.0.0.1", port};
  double least = client.round_trip_ms();
  for (int attempt = 1; attempt < 4 && least >= 90; ++attempt)
    least = std::min(least, client.round_trip_ms());
  EXPECT_LT(least, 90);
  EXPECT_EQ(slow->measure().reason, "still being ramped up");
  slow->set_level(0.5);
  EXPECT_GE(client.round_trip_ms(), 99);
  slow->set_level(1);
  for (int i = 0; i < 4; ++i)
    EXPECT_GE(client.round_trip_ms(), 199);
  const auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.samples, 4U);
}

TEST_F(TcpFault, nothing_is_left_after_the_undo) {
  const auto before = snapshot_host();
  auto slow = fault("tcp.latency", {{"latency", "10ms"}});
  slow.apply();
  EXPECT_NE(differences(before, snapshot_host()), std::vector<std::string>{});
  EXPECT_EQ(slow.undo(), "");
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_F(TcpFault, peers_that_are_left_out_are_not_hit) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}, {"except", {"10.99.0.2", "fd99::/64"}}});
  slow.apply();
  EXPECT_TRUE(quick(far_round_trip_ms()));
  EXPECT_TRUE(quick(far_round_trip_ms("fd99::1")));
  EXPECT_GE(Client("127.0.0.1", port).round_trip_ms(), 199);
  EXPECT_TRUE(slow->targets().back().ends_with(", but not from 10.99.0.2 or fd99::/64"))
      << slow->targets().back();
}

}  // namespace
}  // namespace squall
