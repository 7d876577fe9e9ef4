// network.partition on real packets, in network namespaces of the test's own.
#include <cerrno>
#include <csignal>
#include <filesystem>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
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
using testing::ping;
using testing::RunFault;
using testing::ServerProcess;
using testing::UdpEcho;

constexpr std::uint16_t port = 7007, other_port = 7008;

sockaddr_in at(const char* address, std::uint16_t number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(number);
  ::inet_pton(AF_INET, address, &out.sin_addr);
  return out;
}

// A TCP server at the other end that accepts one connection after another and keeps them.
class Listener {
 public:
  explicit Listener(std::uint16_t number) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto address = at("0.0.0.0", number);
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(socket_.get(), 16) != 0) throw std::runtime_error("listen");
  }
  Fd accept() { return Fd{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)}; }

 private:
  Fd socket_;
};

// 0, or the error of connecting within the time; ETIMEDOUT where there was no answer.
int connect_error(const char* address, std::uint16_t number, int milliseconds = 300, Fd* keep = nullptr) {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const auto to = at(address, number);
  int error = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd ready{socket.get(), POLLOUT, 0};
    if (::poll(&ready, 1, milliseconds) != 1) return ETIMEDOUT;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (keep) *keep = std::move(socket);
  return error;
}

class NetworkPartition : public ::testing::Test {
 protected:
  OwnNetwork network;
  std::unique_ptr<UdpEcho> far, far_other;
  std::unique_ptr<Listener> server;

  void SetUp() override {
    network.at_the_other_end([&] {
      far = std::make_unique<UdpEcho>(port);
      far_other = std::make_unique<UdpEcho>(other_port);
      server = std::make_unique<Listener>(port);
    });
  }
  RunFault partition(boost::json::object with, const char* on = "sqa") const { return RunFault{"network.partition", with, {{"interface", on}}}; }
  static unsigned answered(const char* address, std::uint16_t to) {
    const auto seen = ping(address, to, 20, 500, 100);
    return seen.sent - seen.lost();
  }
};

TEST_F(NetworkPartition, drops_silently_in_each_direction) {
  for (auto* direction : {"out", "in", "both"}) {
    auto off = partition({{"direction", direction}});
    off.apply();
    EXPECT_EQ(answered("10.99.0.2", port), 0U) << direction;  // a refused call would throw
    EXPECT_EQ(answered("fd99::2", port), 0U) << direction;
    EXPECT_EQ(connect_error("10.99.0.2", port), ETIMEDOUT) << direction;
    const auto dose = off->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_GE(dose.measured.at("stopped_packets").to_number<int>(), 40);
    EXPECT_EQ(off.undo(), "");
    EXPECT_EQ(answered("10.99.0.2", port), 20U) << direction;
    EXPECT_EQ(connect_error("10.99.0.2", port, 3000), 0);
  }
}

TEST_F(NetworkPartition, cuts_off_the_peers_and_ports_that_are_meant) {
  {
    auto off = partition({{"to", {"10.99.0.0/24"}}});
    off.apply();
    EXPECT_EQ(answered("10.99.0.2", port), 0U);
    EXPECT_EQ(answered("fd99::2", port), 20U);
  }
  {
    auto off = partition({{"port", {port}}});
    off.apply();
    EXPECT_EQ(answered("10.99.0.2", port), 0U);
    EXPECT_EQ(answered("10.99.0.2", other_port), 20U);
  }
  {
    auto off = partition({{"to", {"10.99.0.3"}}});
    off.apply();
    EXPECT_EQ(answered("10.99.0.2", port), 20U);
    const auto dose = off->measure();
    EXPECT_FALSE(dose.verified);
    EXPECT_EQ(dose.reason, "no packet matched: nobody was cut off");
  }
}

TEST_F(NetworkPartition, rejecting_tells_the_sender) {
  for (auto* direction : {"out", "in", "both"}) {
    auto off = partition({{"mode", "reject"}, {"protocol", "tcp"}, {"direction", direction}});
    off.apply();
    if (direction == std::string("in"))
      // The answers that arrive are refused to those who send them; their reset is their own.
      EXPECT_NE(connect_error("10.99.0.2", port), 0);
    else
      EXPECT_EQ(connect_error("10.99.0.2", port), ECONNREFUSED) << direction;
    EXPECT_TRUE(off->measure().verified) << direction;
    EXPECT_EQ(off.undo(), "");
    EXPECT_EQ(connect_error("10.99.0.2", port, 3000), 0);
  }
}

TEST_F(NetworkPartition, on_lo_a_port_is_cut_off) {
  Listener near{other_port};
  UdpEcho echo{port};
  auto off = partition({{"port", {other_port}}, {"mode", "reject"}}, "lo");
  off.apply();
  EXPECT_EQ(connect_error("127.0.0.1", other_port), ECONNREFUSED);
  EXPECT_EQ(answered("127.0.0.1", port), 20U);
  EXPECT_TRUE(off->measure().verified);
}

TEST_F(NetworkPartition, connections_that_exist_end_when_asked) {
  Fd client;
  ASSERT_EQ(connect_error("10.99.0.2", port, 3000, &client), 0);
  const auto accepted = server->accept();
  auto off = partition({{"port", {port}}, {"cut", true}});
  off.apply();
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNABORTED);
  pollfd ready{accepted.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 2000), 1) << "the reset was to leave before the partition";
  EXPECT_EQ(::recv(accepted.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(off->measure().measured.at("connections_cut").to_number<int>(), 1);
}

TEST_F(NetworkPartition, connections_of_others_stay) {
  Fd client;
  ASSERT_EQ(connect_error("10.99.0.2", port, 3000, &client), 0);
  const auto accepted = server->accept();
  auto off = partition({{"to", {"10.98.0.0/16"}}, {"cut", true}});
  off.apply();
  EXPECT_EQ(::send(client.get(), "!", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  EXPECT_EQ(::recv(accepted.get(), &byte, 1, 0), 1);
  EXPECT_EQ(off->measure().measured.at("connections_cut").to_number<int>(), 0);
}

TEST_F(NetworkPartition, the_control_channel_and_the_metadata_address_are_spared_unless_isolation_is_allowed) {
  std::unique_ptr<Listener> metadata, ssh;
  network.at_the_other_end([&] {
    testing::shell("ip addr add 169.254.169.254/32 dev sqb");
    metadata = std::make_unique<Listener>(std::uint16_t{80});
    ssh = std::make_unique<Listener>(std::uint16_t{22});
  });
  testing::shell("ip route add 169.254.169.254/32 via 10.99.0.2 dev sqa");
  {
    auto off = partition({});
    off.apply();
    EXPECT_EQ(connect_error("10.99.0.2", 22, 3000), 0);
    EXPECT_EQ(connect_error("169.254.169.254", 80, 3000), 0);
    EXPECT_EQ(answered("10.99.0.2", port), 0U);
  }
  auto off = partition({{"allow_isolation", true}});
  off.apply();
  EXPECT_EQ(connect_error("10.99.0.2", 22), ETIMEDOUT);
  EXPECT_EQ(connect_error("169.254.169.254", 80), ETIMEDOUT);
}

TEST_F(NetworkPartition, nothing_is_left_after_the_undo) {
  const auto before = snapshot_host();
  for (auto* mode : {"drop", "reject"}) {
    auto off = partition({{"mode", mode}});
    off.apply();
    EXPECT_NE(differences(before, snapshot_host()), std::vector<std::string>{});
    EXPECT_EQ(off.undo(), "");
    EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
  }
}

TEST_F(NetworkPartition, a_hundred_peers_are_cut_off) {
  boost::json::array peers;
  for (int i = 0; i < 99; ++i) peers.emplace_back(fmt::format("10.{}.0.0/16", i));
  peers.emplace_back("10.99.0.2");
  auto off = partition({{"to", peers}});
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
}

auto keep_connections_at(std::uint16_t number) {
  return [number] { return std::make_shared<Listener>(number); };
}

TEST_F(NetworkPartition, a_share_of_the_connections_is_reset) {
  const ServerProcess near{keep_connections_at(other_port)};
  std::vector<Fd> clients(10);
  for (auto& client : clients) ASSERT_EQ(connect_error("127.0.0.1", other_port, 3000, &client), 0);
  RunFault reset{"network.reset", {{"count", "30%"}}, {{"listens_on", other_port}}, 5};
  reset.apply();
  unsigned ended = 0;
  for (auto& client : clients) {
    char byte = 0;
    ended += ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == -1 && (errno == ECONNRESET || errno == ECONNABORTED);
  }
  EXPECT_EQ(ended, 3U);
  const auto dose = reset->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.measured.at("connections_found").to_number<int>(), 10);
  EXPECT_EQ(dose.measured.at("connections_cut").to_number<int>(), 3);
}

TEST_F(NetworkPartition, where_nobody_is_connected_no_reset_is_verified) {
  const ServerProcess near{keep_connections_at(other_port)};
  RunFault reset{"network.reset", boost::json::object{}, {{"listens_on", other_port}}};
  reset.apply();
  EXPECT_FALSE(reset->measure().verified);
  EXPECT_EQ(reset->measure().reason, "no connection matched: nothing was cut");
}

}  // namespace
}  // namespace squall
