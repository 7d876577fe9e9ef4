// Faults on TCP connections, in front of real services in network namespaces of the test's own, without their knowing.
#include <cerrno>
#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/process.hpp"
#include "injector/host/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;

constexpr std::uint16_t port = 7011, other_port = 7012;

// Sends back what it gets, over TCP, on every address of the namespace it is made in, as long as the process lives.
class TcpEcho {
 public:
  explicit TcpEcho(std::uint16_t number) : socket_(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(number);
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(socket_, 64) != 0) throw std::runtime_error("listen");
    std::thread{[socket = socket_] {
      for (;;) {
        const int client = ::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) return;
        std::thread{[client] {
          char text[4096];
          for (ssize_t got; (got = ::recv(client, text, sizeof text, 0)) > 0;)
            if (::send(client, text, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
          ::close(client);
        }}.detach();
      }
    }}.detach();
  }

 private:
  int socket_;
};
auto echo_at(std::uint16_t number) {
  return [number] { return std::make_shared<TcpEcho>(number); };
}

class Client {
 public:
  Client(const std::string& address, std::uint16_t number) {
    const bool v6 = address.find(':') != std::string::npos;
    socket_ = Fd{::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const timeval patience{5, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_storage to{};
    if (v6) {
      auto& in = reinterpret_cast<sockaddr_in6&>(to);
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(number);
      ::inet_pton(AF_INET6, address.c_str(), &in.sin6_addr);
    } else {
      auto& in = reinterpret_cast<sockaddr_in&>(to);
      in.sin_family = AF_INET;
      in.sin_port = htons(number);
      ::inet_pton(AF_INET, address.c_str(), &in.sin_addr);
    }
    if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&to), v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)) != 0) error = errno;
  }
  void send(const std::string& text) { ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  void send_no_more() { ::shutdown(socket_.get(), SHUT_WR); }
  // "" at the end, or where it broke: then `error` says how.
  std::string receive(std::size_t size) {
    std::string out(size, 0);
    const auto got = ::recv(socket_.get(), out.data(), size, MSG_WAITALL);
    if (got < 0) error = errno;
    out.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return out;
  }
  // -1 where no answer came.
  double round_trip_ms() {
    const auto begin = std::chrono::steady_clock::now();
    send("ping");
    if (receive(4) != "ping") return -1;
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  int error = 0;

 private:
  Fd socket_;
};

class TcpFault : public ::testing::Test {
 protected:
  OwnNetwork network;
  ServerProcess server{echo_at(port)};

  static RunFault fault(const std::string& name, boost::json::object with, std::uint64_t seed = 1) { return RunFault{name, with, {{"listens_on", port}}, seed}; }
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
  for (auto* address : {"127.0.0.1", "::1", "10.99.0.1"}) EXPECT_GE(Client(address, port).round_trip_ms(), 199) << address;
  EXPECT_LT(before.round_trip_ms(), 150);
  const auto dose = slow->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(dose.measured.at("latency_ms").to_number<double>(), 200, 11);
  EXPECT_EQ(dose.measured.at("connections_hit").to_number<int>(), 5);
  EXPECT_EQ(slow.undo(), "");
  EXPECT_LT(far_round_trip_ms(), 150);
}

TEST_F(TcpFault, connections_made_meanwhile_outlive_the_fault) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  Client meanwhile{"127.0.0.1", port};
  EXPECT_GE(meanwhile.round_trip_ms(), 199);
  EXPECT_EQ(slow.undo(), "");
  EXPECT_LT(meanwhile.round_trip_ms(), 150);
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
  EXPECT_LT(Client("127.0.0.1", other_port).round_trip_ms(), 150);
  EXPECT_LT(Client("127.0.0.1", port).round_trip_ms(), 150);
  EXPECT_GE(far_round_trip_ms(), 199);
  EXPECT_GE(far_round_trip_ms("fd99::1"), 199);
}

// What a process in a cgroup of its own measures.
double in_cgroup(const std::string& folder, const std::function<double()>& measure) {
  int answer[2];
  if (::pipe2(answer, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int procs = ::open((folder + "/cgroup.procs").c_str(), O_WRONLY);
    if (::write(procs, "0", 1) != 1) ::_exit(1);
    const double out = measure();
    ::_exit(::write(answer[1], &out, sizeof out) == sizeof out ? 0 : 1);
  }
  ::close(answer[1]);
  double out = -2;
  if (::read(answer[0], &out, sizeof out) != sizeof out) out = -2;
  ::close(answer[0]);
  ::waitpid(pid, nullptr, 0);
  return out;
}

TEST_F(TcpFault, of_one_process_does_not_touch_another) {
  const testing::OwnGroup group;
  network.at_the_other_end([] { TcpEcho far{port}; });
  const ServerProcess target{[] { return std::make_shared<int>(0); }, group.folder};
  RunFault slow{"tcp.latency", {{"latency", "200ms"}, {"port", {port}}}, {{"pid", target.pid()}}};
  slow.apply();
  EXPECT_GE(in_cgroup(group.folder, [] { return Client{"10.99.0.2", port}.round_trip_ms(); }), 199);
  EXPECT_LT(Client("10.99.0.2", port).round_trip_ms(), 150);
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
    EXPECT_NEAR(dose.measured.at("rate_bytes_per_second").to_number<double>(), 20'000, 3'000);
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

TEST_F(TcpFault, what_hit_nobody_is_not_verified) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow.apply();
  auto dose = slow->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "no connection was made: nobody was hit");
  Client idle{"127.0.0.1", port};
  ASSERT_EQ(idle.error, 0);
  // The kernel answers before the proxy accepts.
  for (int i = 0; i < 500 && (dose = slow->measure()).measured.at("connections") == 0; ++i) ::usleep(10'000);
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "nothing was sent over the connections: nothing was delayed");
}

TEST_F(TcpFault, a_ramp_delays_ever_more) {
  auto slow = fault("tcp.latency", {{"latency", "200ms"}});
  slow->set_level(0);
  slow.apply();
  Client client{"127.0.0.1", port};
  EXPECT_LT(client.round_trip_ms(), 90);
  EXPECT_EQ(slow->measure().reason, "still being ramped up");
  slow->set_level(0.5);
  EXPECT_GE(client.round_trip_ms(), 99);
  slow->set_level(1);
  for (int i = 0; i < 4; ++i) EXPECT_GE(client.round_trip_ms(), 199);
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

}  // namespace
}  // namespace squall
