// New connections that are refused, ports that are taken and ports that run out, in network namespaces of the
// test's own.
#include <cerrno>
#include <cmath>

#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/connections/held_ports.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using testing::Client;
using testing::echo_at;
using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;

constexpr std::uint16_t port = 7021, other_port = 7022;

class Refusal : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  static RunFault fault(boost::json::object with) {
    return RunFault{"network.refuse", std::move(with), {{"listens_on", port}}};
  }
  int far_error(const std::string& address = "10.99.0.1") const {
    int out = 0;
    network.at_the_other_end([&] { out = Client(address, port).error; });
    return out;
  }
  OwnNetwork network;
  ServerProcess server{echo_at(port)}, other{echo_at(other_port)};
};

TEST_F(Refusal, of_every_new_connection_and_of_no_other) {
  const auto before = snapshot_host();
  Client open{"127.0.0.1", port};
  auto down = fault({});
  down.apply();
  EXPECT_EQ(down->measure().reason, "nobody tried to connect: nobody was refused");
  for (auto* address : {"127.0.0.1", "::1", "10.99.0.1"})
    EXPECT_EQ(Client(address, port).error, ECONNREFUSED) << address;
  EXPECT_EQ(far_error(), ECONNREFUSED);
  EXPECT_EQ(far_error("fd99::1"), ECONNREFUSED);
  EXPECT_GE(open.round_trip_ms(), 0) << "a connection that existed was hit";
  EXPECT_EQ(Client("127.0.0.1", other_port).error, 0);
  const auto dose = down->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.measured.at("attempts_refused").to_number<int>(), 5);
  EXPECT_EQ(down.undo(), "");
  EXPECT_EQ(far_error(), 0);
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_F(Refusal, cut_is_a_service_that_is_down) {
  for (bool by_its_own_name : {false, true}) {
    Client open{"127.0.0.1", port};
    EXPECT_GE(open.round_trip_ms(), 0);
    auto down = by_its_own_name ? RunFault{"tcp.down", {}, {{"listens_on", port}}} : fault({{"cut", true}});
    down.apply();
    EXPECT_EQ(open.round_trip_ms(), -1);
    EXPECT_GE(down->measure().measured.at("connections_cut").to_number<int>(), 1);
    EXPECT_TRUE(down->measure().verified) << "whoever was connected was hit: " << down->measure().reason;
    EXPECT_EQ(Client("127.0.0.1", port).error, ECONNREFUSED);
    EXPECT_EQ(down->measure().measured.at("attempts_refused").to_number<int>(), 1);
    EXPECT_TRUE(down->measure().verified) << down->measure().reason;
    EXPECT_EQ(down.undo(), "");
    EXPECT_EQ(Client("127.0.0.1", port).error, 0);
  }
}

TEST_F(Refusal, of_a_share) {
  auto flaky = fault({{"share", "40%"}});
  flaky.apply();
  int refused = 0;
  for (int i = 0; i < 300; ++i)
    refused += Client("127.0.0.1", port).error == ECONNREFUSED;
  EXPECT_NEAR(refused, 120, 4 * std::sqrt(300 * 0.4 * 0.6));
  const auto dose = flaky->measure();
  EXPECT_GE(dose.measured.at("attempts_matched").to_number<int>(), 300);
  EXPECT_EQ(dose.measured.at("attempts_refused").to_number<int>(), refused);
  EXPECT_EQ(flaky.undo(), "");
}

TEST_F(Refusal, beyond_a_limit) {
  auto full = fault({{"limit", 3}});
  full.apply();
  std::vector<std::unique_ptr<Client>> open;
  for (int i = 0; i < 3; ++i) {
    open.push_back(std::make_unique<Client>("127.0.0.1", port));
    EXPECT_EQ(open.back()->error, 0) << i;
  }
  EXPECT_EQ(Client("127.0.0.1", port).error, ECONNREFUSED);
  EXPECT_EQ(far_error(), ECONNREFUSED);
  for (auto& one : open)
    EXPECT_GE(one->round_trip_ms(), 0) << "an open connection was hit";
  open.pop_back();
  int error = ECONNREFUSED;  // the kernel looks once a jiffy at most whether one has gone
  for (int i = 0; i < 100 && error; ++i) {
    ::usleep(20'000);
    error = Client("127.0.0.1", port).error;
  }
  EXPECT_EQ(error, 0) << "there is room again";
  EXPECT_TRUE(full->measure().verified);
  EXPECT_EQ(full.undo(), "");
}

TEST_F(Refusal, a_limit_counts_all_peers_ports_and_families_together) {
  for (boost::json::object with :
       {boost::json::object{{"to", {"127.0.0.1", "10.99.0.1", "10.99.0.2", "::1", "fd99::2"}}},
        boost::json::object{}}) {
    with["limit"] = 1;
    auto full = fault(with);
    full.apply();
    const Client open{"127.0.0.1", port};
    EXPECT_EQ(open.error, 0);
    EXPECT_EQ(Client("10.99.0.1", port).error, ECONNREFUSED);
    EXPECT_EQ(Client("::1", port).error, ECONNREFUSED);
    EXPECT_EQ(far_error(), ECONNREFUSED);
    EXPECT_EQ(far_error("fd99::1"), ECONNREFUSED);
    EXPECT_EQ(full->measure().measured.at("attempts_refused").to_number<int>(), 4);
    EXPECT_EQ(full.undo(), "");
  }
}

TEST_F(Refusal, dropped_syns_come_again) {
  {
    auto lost = fault({{"mode", "drop"}});
    lost.apply();
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in to{
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
    EXPECT_EQ(errno, EINPROGRESS);
    for (int i = 0; i < 500 && lost->measure().measured.at("attempts_refused").to_number<int>() < 2; ++i)
      ::usleep(10'000);
    EXPECT_GE(lost->measure().measured.at("attempts_refused").to_number<int>(), 2)
        << "a SYN that is lost is sent again";
    int error = -1;
    socklen_t size = sizeof error;
    ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
    EXPECT_EQ(error, 0) << "the client was told";
    EXPECT_EQ(lost.undo(), "");
    ::close(descriptor);
  }
  EXPECT_EQ(Client("127.0.0.1", port).error, 0);
}

TEST_F(Refusal, of_what_one_process_makes) {
  const testing::OwnGroup group;
  const ServerProcess asker{[] { return std::make_shared<int>(0); }, group.folder};
  RunFault broken{"network.refuse", {{"port", {port}}}, {{"pid", asker.pid()}}};
  broken.apply();
  auto error = [](std::uint16_t to) {
    return [to] { return static_cast<double>(Client("127.0.0.1", to).error); };
  };
  EXPECT_EQ(testing::in_cgroup(group.folder, error(port)), ECONNREFUSED);
  EXPECT_EQ(testing::in_cgroup(group.folder, error(other_port)), 0);
  EXPECT_EQ(Client("127.0.0.1", port).error, 0);
  EXPECT_EQ(broken.undo(), "");
}

TEST_F(Refusal, of_what_is_made_in_a_network_namespace_where_one_process_is_alone) {
  const ServerProcess alone{[this] {
    network.go_to_the_other_end();
    return std::make_shared<testing::TcpEcho>(port);
  }};
  RunFault broken{"network.refuse", {}, {{"pid", alone.pid()}}};
  broken.apply();
  EXPECT_EQ(far_error(), ECONNREFUSED);
  EXPECT_EQ(Client("10.99.0.2", port).error, 0) << "others connect to it as before";
  EXPECT_EQ(Client("127.0.0.1", port).error, 0);
  EXPECT_TRUE(broken->measure().verified);
  EXPECT_EQ(broken.undo(), "");
  EXPECT_EQ(far_error(), 0);
}

TEST_F(Refusal, an_occupied_port_cannot_be_listened_on) {
  HeldPorts somebody;
  RunFault taken{"network.occupy", {{"port", 7030}}, {{"interface", "any"}}};
  taken.apply();
  EXPECT_EQ(somebody.hold(PortProtocol::tcp, 7030), EADDRINUSE);
  EXPECT_EQ(somebody.hold(PortProtocol::udp, 7030), 0);
  EXPECT_EQ(Client("127.0.0.1", 7030).error, ECONNREFUSED);
  EXPECT_TRUE(taken->measure().verified);
  EXPECT_EQ(taken.undo(), "");
  EXPECT_EQ(somebody.hold(PortProtocol::tcp, 7030), 0);
  RunFault late{"network.occupy", {{"port", {7031, 7030}}}, {{"interface", "any"}}};
  EXPECT_THROW(late.apply(), std::runtime_error);
  EXPECT_EQ(somebody.hold(PortProtocol::tcp, 7031), 0) << "half a fault stayed";
}

// A process that may open so many descriptors, and cannot change that.
void may_open(rlim_t most) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  ::syscall(SYS_capget, &header, data);
  data[0].effective &= ~(1U << CAP_SYS_RESOURCE);
  data[0].permitted &= ~(1U << CAP_SYS_RESOURCE);
  ::syscall(SYS_capset, &header, data);
  const rlimit limit{most, most};
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_F(Refusal, more_ephemeral_ports_than_descriptors_are_refused_by_plan_and_doctor) {
  testing::shell("echo 30000 60999 >/proc/sys/net/ipv4/ip_local_port_range");
  const auto child = ::fork();
  if (child == 0) {
    may_open(4096);
    int wrong = find_fault("network.exhaust_ports")->doctor().front().possible ? 1 : 0;
    try {
      RunFault all{"network.exhaust_ports", {}, {{"interface", "any"}}};
      wrong += 2;
    } catch (const std::runtime_error& e) {
      wrong +=
          std::string_view(e.what()).find("31000 ports are to be held") == std::string_view::npos ? 4 : 0;
    }
    RunFault some{"network.exhaust_ports", {{"leave", 30'000}}, {{"interface", "any"}}};
    ::_exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Refusal, ephemeral_ports_run_out_and_come_back) {
  testing::shell("echo 40000 41999 >/proc/sys/net/ipv4/ip_local_port_range");
  {
    RunFault none{"network.exhaust_ports", {}, {{"interface", "any"}}};
    none.apply();
    EXPECT_EQ(Client("127.0.0.1", port).error, EADDRNOTAVAIL);
    EXPECT_EQ(Client("::1", port).error, EADDRNOTAVAIL);
    EXPECT_TRUE(finds_a_port(PortProtocol::udp));
    int far = -1;
    network.at_the_other_end([&] { far = Client("10.99.0.1", port).error; });
    EXPECT_EQ(far, 0) << "who connects from elsewhere needs none of these";
    RunFault slow{"tcp.latency", {{"latency", "50ms"}}, {{"listens_on", port}}};
    EXPECT_NO_THROW(slow.apply()) << "the proxy's own port is another one then";
    EXPECT_EQ(slow.undo(), "");
    const auto dose = none->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(dose.measured.at("ports").to_number<int>(), 2000);
    EXPECT_EQ(none.undo(), "");
  }
  Client again{"127.0.0.1", port};
  EXPECT_EQ(again.error, 0);
  again.reset();  // a port that waits (TIME_WAIT) may be one of those that are left
  RunFault few{"network.exhaust_ports", {{"leave", 5}}, {{"interface", "any"}}};
  few.apply();
  std::vector<std::unique_ptr<Client>> open;
  int last = 0;
  while (last == 0 && open.size() < 20) {
    open.push_back(std::make_unique<Client>("127.0.0.1", port));
    last = open.back()->error;
  }
  EXPECT_EQ(last, EADDRNOTAVAIL);
  EXPECT_EQ(open.size(), 6U);
  EXPECT_EQ(few.undo(), "");
}

// A port that only connections have is shared by the kernel with connections to other peers, if nobody keeps
// it from that.
TEST_F(Refusal, ephemeral_ports_run_out_beside_connections_that_live_or_have_just_ended) {
  testing::shell("echo 40000 40199 >/proc/sys/net/ipv4/ip_local_port_range");
  std::vector<std::unique_ptr<Client>> pool;
  for (int i = 0; i < 10; ++i)
    pool.push_back(std::make_unique<Client>("127.0.0.1", port));
  for (int i = 0; i < 5; ++i)
    Client("10.99.0.1", other_port).round_trip_ms();  // they wait (TIME_WAIT)
  const auto begun = connections_begun();
  RunFault none{"network.exhaust_ports", {}, {{"interface", "any"}}};
  none.apply();
  for (int i = 0; i < 20; ++i)
    for (auto* address : {"127.0.0.1", "127.0.0.2", "10.99.0.1", "::1", "fd99::1"})
      EXPECT_EQ(Client(address, i % 2 ? port : other_port).error, EADDRNOTAVAIL) << address;
  EXPECT_EQ(connections_begun(), begun);
  for (auto& one : pool)
    EXPECT_GE(one->round_trip_ms(), 0) << "a connection that existed was hit";
  auto dose = none->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(dose.measured.at("ports_shared_with_connections").to_number<int>(), 10);
  // Who closes one does not get its port for the next.
  pool.pop_back();
  EXPECT_EQ(Client("127.0.0.1", other_port).error, EADDRNOTAVAIL);
  EXPECT_EQ(none.undo(), "");
  EXPECT_EQ(Client("127.0.0.1", other_port).error, 0);
}

TEST_F(Refusal, a_port_that_is_found_after_all_takes_the_verification_back) {
  testing::shell("echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range");
  RunFault none{"network.exhaust_ports", {}, {{"interface", "any"}}};
  none.apply();
  EXPECT_TRUE(none->measure().verified) << none->measure().reason;
  testing::shell("echo 40000 40109 >/proc/sys/net/ipv4/ip_local_port_range");
  const auto dose = none->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find("the kernel still finds a port for who connects"), std::string::npos)
      << dose.reason;
}

TEST_F(Refusal, spares_peers_that_are_left_out) {
  auto down = fault({{"except", {"10.99.0.0/24"}}});
  down.apply();
  EXPECT_EQ(far_error(), 0);
  EXPECT_EQ(far_error("fd99::1"), ECONNREFUSED);
  EXPECT_EQ(Client("127.0.0.1", port).error, ECONNREFUSED);
}

// Who is connected, and comes no more, is somebody.
TEST_F(Refusal, that_hit_nobody_says_who_was_there) {
  Client open{"127.0.0.1", port};
  auto down = fault({});
  down.apply();
  Dose dose;
  for (const auto until = monotonic_ns() + 10'000'000'000;
       monotonic_ns() < until && dose.reason.find("what passed") == std::string::npos;) {
    EXPECT_GE(open.round_trip_ms(), 0);
    dose = down->measure();
  }
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find(
                fmt::format("what came to port {} was not hit: by connections that were there before", port)),
            std::string::npos)
      << dose.reason;
  EXPECT_EQ(dose.reason.find("nobody"), std::string::npos) << dose.reason;
}

}  // namespace
}  // namespace squall
