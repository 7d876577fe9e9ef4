// What network.partition (cut) and network.reset do to connections that exist.
#include "tests/kernel/partition_under_test.hpp"

namespace squall {
namespace {

using namespace testing;

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

TEST_F(NetworkPartition, connections_by_other_devices_stay) {
  testing::shell(
      "ip link add sqc type veth peer name sqd && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up && "
      "ip link set sqd up");
  const Listener near{other_port};
  Fd by_lo, to_itself, by_veth;
  const auto connect = [&] {
    ASSERT_EQ(connect_error("127.0.0.1", other_port, 3000, &by_lo), 0);
    ASSERT_EQ(connect_error("10.99.0.1", other_port, 3000, &to_itself), 0);
    ASSERT_EQ(connect_error("10.99.0.2", port, 3000, &by_veth), 0);
  };
  const auto alive = [](const Fd& client) {
    char byte = 0;
    return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
  };
  for (auto [device, loopback, veth] :
       {std::tuple{"sqc", true, true}, {"sqa", true, false}, {"lo", false, true}}) {
    connect();
    auto off = partition({{"cut", true}}, device);
    off.apply();
    EXPECT_EQ(alive(by_lo), loopback) << device;
    EXPECT_EQ(alive(to_itself), loopback) << device;
    EXPECT_EQ(alive(by_veth), veth) << device;
    EXPECT_EQ(off.undo(), "");
  }
  connect();
  auto off = partition({{"cut", true}}, "any");
  off.apply();
  for (auto* client : {&by_lo, &to_itself, &by_veth})
    EXPECT_FALSE(alive(*client));
}

TEST_F(NetworkPartition, a_connection_bound_to_a_device_uses_that_one) {
  testing::shell(
      "ip link add sqc type veth peer name sqd && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up && "
      "ip link set sqd up");
  Fd client;
  ASSERT_EQ(connect_error("10.99.0.2", port, 3000, &client), 0);
  ASSERT_EQ(::setsockopt(client.get(), SOL_SOCKET, SO_BINDTODEVICE, "sqa", 3), 0);
  testing::shell("ip route add 10.99.0.2/32 dev sqc");
  char byte = 0;
  {
    auto off = partition({{"cut", true}}, "sqc");
    Transaction plan;
    off->apply(plan);
    EXPECT_EQ(plan.changes().front().what, "end the TCP connections that exist, where they leave by sqc");
    off.apply();
    EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
    EXPECT_EQ(errno, EAGAIN);
  }
  auto off = partition({{"cut", true}}, "sqa");
  off.apply();
  EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNABORTED);
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

auto keep_connections_at(std::uint16_t number) {
  return [number] { return std::make_shared<Listener>(number); };
}

TEST_F(NetworkPartition, a_share_of_the_connections_is_reset) {
  const ServerProcess near{keep_connections_at(other_port)};
  std::vector<Fd> clients(10);
  for (auto& client : clients)
    ASSERT_EQ(connect_error("127.0.0.1", other_port, 3000, &client), 0);
  RunFault reset{"network.reset", {{"count", "30%"}}, {{"listens_on", other_port}}, 5};
  reset.apply();
  unsigned ended = 0;
  for (auto& client : clients) {
    char byte = 0;
    ended +=
        ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == -1 && (errno == ECONNRESET || errno == ECONNABORTED);
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
