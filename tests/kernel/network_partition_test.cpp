// network.partition on real packets, in network namespaces of the test's own.
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <thread>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "injector/host/process.hpp"
#include "injector/host/nftables.hpp"
#include "injector/host/snapshot.hpp"
#include "injector/targets.hpp"
#include "tests/support/tcp_peers.hpp"
#include "tests/support/own_names.hpp"
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

TEST_F(NetworkPartition, rejecting_tells_the_sender_as_asked) {
  const auto udp_error = [] {
    Fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto to = at("10.99.0.2", port);
    ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
    return ::send(socket.get(), "!", 1, 0) == 1 ? 0 : errno;
  };
  for (auto [with, error] : {std::pair{"automatic", ECONNREFUSED}, {"icmp", EHOSTUNREACH}, {"rst", ECONNREFUSED}}) {
    auto off = partition({{"mode", "reject"}, {"reject_with", with}, {"direction", "out"}});
    off.apply();
    EXPECT_EQ(connect_error("10.99.0.2", port, 3000), error) << with;
    EXPECT_NE(udp_error(), 0) << with;
  }
  EXPECT_THROW(partition({{"reject_with", "icmp"}}), std::runtime_error);
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

TEST_F(NetworkPartition, connections_by_other_devices_stay) {
  testing::shell("ip link add sqc type veth peer name sqd && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up && ip link set sqd up");
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
  for (auto [device, loopback, veth] : {std::tuple{"sqc", true, true}, {"sqa", true, false}, {"lo", false, true}}) {
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
  for (auto* client : {&by_lo, &to_itself, &by_veth}) EXPECT_FALSE(alive(*client));
}

TEST_F(NetworkPartition, a_connection_bound_to_a_device_uses_that_one) {
  testing::shell("ip link add sqc type veth peer name sqd && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up && ip link set sqd up");
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

TEST_F(NetworkPartition, an_ssh_server_is_spared_on_whatever_port_it_listens) {
  const auto serve_as = [](const char* name, std::uint16_t number) -> std::function<std::shared_ptr<void>()> {
    return [name, number]() -> std::shared_ptr<void> {
      ::prctl(PR_SET_NAME, name);
      return std::make_shared<Listener>(number);
    };
  };
  const ServerProcess ssh{serve_as("sshd", 2222)}, other{serve_as("httpd", 2223)};
  auto seen_from_afar = [&](std::uint16_t number, int milliseconds) {
    int error = -1;
    network.at_the_other_end([&] { error = connect_error("10.99.0.1", number, milliseconds); });
    return error;
  };
  ASSERT_EQ(seen_from_afar(2223, 3000), 0);
  auto off = partition({{"direction", "both"}});
  off.apply();
  EXPECT_EQ(seen_from_afar(2222, 3000), 0);
  EXPECT_EQ(seen_from_afar(2223, 300), ETIMEDOUT);
  EXPECT_NE(fmt::format("{}", fmt::join(off->limits(), "; ")).find("tcp port 22 and 2222 (ssh, which carries control) is not touched"), std::string::npos);
}

TEST_F(NetworkPartition, a_delay_on_the_same_device_opens_no_way_through) {
  for (auto* direction : {"out", "in"})
    for (auto* mode : {"drop", "reject"})
      for (bool delay_first : {false, true}) {
        auto off = partition({{"direction", direction}, {"mode", mode}, {"protocol", "tcp"}});
        RunFault late{"network.delay", {{"delay", "1ms"}, {"direction", direction}, {"mechanism", "userland"}}, {{"interface", "sqa"}}};
        (delay_first ? late : off).apply();
        (delay_first ? off : late).apply();
        EXPECT_NE(connect_error("10.99.0.2", port), 0) << direction << " " << mode << " " << delay_first;
        EXPECT_EQ(answered("10.99.0.2", port), 20U) << "what is not meant passes, late";
        EXPECT_TRUE(off->measure().verified);
        EXPECT_EQ(off.undo(), "");
        EXPECT_EQ(connect_error("10.99.0.2", port, 3000), 0);
        EXPECT_EQ(late.undo(), "");
      }
}

TEST_F(NetworkPartition, a_process_is_cut_off_behind_a_delay_of_its_device_and_its_neighbour_is_not) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::OwnGroup one, other{"-other"};
  const ServerProcess near{[] { return std::make_shared<int>(0); }, one.folder}, neighbour{[] { return std::make_shared<int>(0); }, other.folder};
  const auto lost_by = [&](const testing::OwnGroup& group) {
    return testing::in_cgroup(group.folder, [] { return static_cast<double>(ping("10.99.0.2", port, 20, 500, 300).lost()); });
  };
  for (bool delay_first : {false, true}) {
    RunFault off{"network.partition", {{"direction", "out"}}, {{"pid", near.pid()}}};
    RunFault late{"network.delay", {{"delay", "1ms"}, {"mechanism", "userland"}}, {{"pid", neighbour.pid()}}};
    RunFault later{"network.delay", {{"delay", "1ms"}, {"mechanism", "userland"}}, {{"interface", "sqa"}}};
    if (!delay_first) off.apply();
    late.apply();
    later.apply();
    if (delay_first) off.apply();
    EXPECT_EQ(lost_by(one), 20);
    EXPECT_EQ(lost_by(other), 0);
    EXPECT_EQ(answered("10.99.0.2", port), 20U);
    EXPECT_EQ(late->measure().samples, 20U) << "its own packets alone";
    EXPECT_GE(later->measure().samples, 40U) << "what the other delay has sent on comes here too";
  }
}

// The addresses of this end are a bridge's, of which the veth is a port.
void make_a_bridge() {
  testing::shell("ip link add sqbr type bridge && ip addr flush dev sqa && ip link set sqa master sqbr && ip addr add 10.99.0.1/24 dev sqbr && ip link set sqbr up");
}

TEST_F(NetworkPartition, the_port_of_a_bridge_is_cut_off_in_both_directions) {
  make_a_bridge();
  ASSERT_EQ(answered("10.99.0.2", port), 20U);
  const UdpEcho near{other_port};
  for (auto* direction : {"in", "both", "out"}) {
    auto off = partition({{"direction", direction}, {"to", {"10.99.0.2"}}});
    off.apply();
    EXPECT_EQ(answered("10.99.0.2", port), 0U) << direction;
    network.at_the_other_end([] { EXPECT_EQ(answered("10.99.0.1", other_port), 0U); });
    const auto dose = off->measure();
    if (direction == std::string("out")) continue;
    EXPECT_TRUE(dose.verified) << dose.reason;
    if (direction == std::string("both")) {
      EXPECT_GE(dose.measured.at("stopped_leaving").to_number<int>(), 20);
      EXPECT_GE(dose.measured.at("stopped_arriving").to_number<int>(), 20);
    }
  }
}

TEST_F(NetworkPartition, what_cannot_be_told_behind_a_bridge_is_refused) {
  make_a_bridge();
  const auto why = [](const std::string& name, boost::json::object with) -> std::string {
    try {
      RunFault fault{name, with, {{"interface", "sqa"}}};
      return "";
    } catch (const std::exception& e) {
      return e.what();
    }
  };
  for (auto* direction : {"in", "both"}) {
    EXPECT_NE(why("network.partition", {{"direction", direction}, {"mode", "reject"}}).find("aim at its master sqbr"), std::string::npos);
    EXPECT_NE(why("network.delay", {{"direction", direction}, {"delay", "1ms"}, {"mechanism", "userland"}}).find("aim at its master sqbr"), std::string::npos);
  }
  EXPECT_EQ(why("network.partition", {{"direction", "out"}, {"mode", "reject"}}), "");
}

TEST_F(NetworkPartition, is_not_verified_where_a_peer_arrives_by_another_way) {
  testing::shell("ip link add sqc type veth peer name sqd && ip link set sqc up && ip link set sqd up");
  auto off = partition({{"to", {"10.99.0.2"}}}, "sqc");
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 20U);
  const auto dose = off->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "20 packets of these peers arrived all the same, by a way that is not cut off");
}

TEST_F(NetworkPartition, whoever_shares_a_cgroup_has_to_be_permitted) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::OwnGroup group;
  const auto idle = [] { return std::make_shared<int>(0); };
  const ServerProcess target{idle, group.folder}, neighbour{idle, group.folder};
  const auto prepare = [&](const std::string& name, pid_t protected_pid) {
    const auto permits = [protected_pid](const Process& process) { return process.pid != protected_pid; };
    RunFault fault{name, {}, {{"pid", target.pid()}}, 1, nullptr, permits};
  };
  for (auto* name : {"network.partition", "network.reset", "network.refuse"}) {
    EXPECT_NO_THROW(prepare(name, ::getpid())) << name;
    try {
      prepare(name, neighbour.pid());
      ADD_FAILURE() << name << " hits a protected process";
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find(fmt::format("[{}] too, which is protected on this host", neighbour.pid())), std::string::npos) << e.what();
    }
  }
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

TEST_F(NetworkPartition, thousands_of_peers_are_cut_off_and_not_all_of_them_are_told) {
  for (auto* mode : {"drop", "reject"}) {
    boost::json::array peers;
    for (int i = 0; i < 1500; ++i) peers.emplace_back(fmt::format("10.98.{}.{}", i / 250, i % 250));
    for (int i = 0; i < 1100; ++i) peers.emplace_back(fmt::format("fd98::{:x}", i));
    for (int i = 0; i < 600; ++i) peers.emplace_back(fmt::format("10.{}.{}.0/24", 100 + i / 200, i % 200));
    for (auto* last : {"10.99.0.2", "10.99.0.2", "fd99::2"}) peers.emplace_back(last);
    auto off = partition({{"to", peers}, {"mode", mode}, {"protocol", "tcp"}});
    EXPECT_NE(off->targets().back().find("10.98.0.0 or 10.98.0.1 or 10.98.0.2 or 10.98.0.3 or others, 3203 peers in all"), std::string::npos) << off->targets().back();
    off.apply();
    EXPECT_EQ(connect_error("10.99.0.2", port), mode == std::string("drop") ? ETIMEDOUT : ECONNREFUSED);
    EXPECT_EQ(answered("10.99.0.2", port), 20U);
  }
}

TEST_F(NetworkPartition, many_devices_are_cut_off) {
  testing::shell("for i in $(seq 1 70); do echo \"link add name sqm$i type veth peer name sqn$i\"; echo \"link set sqm$i up\"; done | ip -batch -");
  auto off = partition({}, "any");
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
  EXPECT_TRUE(off->measure().verified);
  EXPECT_EQ(off.undo(), "");
  RunFault late{"network.delay", {{"delay", "1ms"}, {"mechanism", "userland"}}, {{"interface", "any"}}};
  late.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 20U);
}

// A host's own rules, thousands of them, in the families of ours.
void add_foreign_rules(unsigned count) {
  for (auto family : {nft::Family::inet, nft::Family::netdev}) {
    static std::vector<std::unique_ptr<netlink::Socket>> owners;
    owners.push_back(std::make_unique<netlink::Socket>(NETLINK_NETFILTER));
    netlink::Messages messages;
    nft::begin_batch(messages);
    nft::add_table(messages, family, "others");
    const nft::Chain chain{family, "others", "hold-out"};
    nft::add_chain(messages, chain);
    for (unsigned i = 0; i < count; ++i) nft::Rule{messages, chain}.count().drop();
    nft::end_batch(messages);
    netlink::must(*owners.back(), messages);
  }
}

TEST_F(NetworkPartition, its_measuring_costs_no_more_where_others_have_many_rules) {
  auto off = partition({});
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
  const auto cost = [&] {
    const auto begin = std::clock();
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(off->measure().verified);
    EXPECT_FALSE(nft::table_exists(nft::Family::inet, "nobody's"));
    return std::clock() - begin;
  };
  const auto before = cost();
  add_foreign_rules(10'000);
  EXPECT_TRUE(nft::table_exists(nft::Family::inet, "others"));
  EXPECT_LT(cost(), 5 * before + CLOCKS_PER_SEC / 20);
}

using Clock = std::chrono::steady_clock;
using std::chrono_literals::operator""s, std::chrono_literals::operator""ms;

// Looks for events as the injector does, four times a second, until it is enough; all that were told.
std::vector<FaultEvent> events_until(std::vector<Fault*> faults, std::chrono::seconds patience, const std::function<bool(const std::vector<FaultEvent>&)>& enough) {
  std::vector<FaultEvent> out;
  for (const auto until = Clock::now() + patience; !enough(out) && Clock::now() < until; std::this_thread::sleep_for(250ms))
    for (auto* fault : faults)
      for (auto& event : fault->events()) out.push_back(std::move(event));
  return out;
}

TEST_F(NetworkPartition, a_name_whose_addresses_change_is_cut_off_at_all_it_had) {
  network.at_the_other_end([] { testing::shell("ip addr add 10.97.0.3/24 dev sqb"); });
  testing::shell("ip addr add 10.97.0.1/24 dev sqa");
  testing::OwnNames names{"10.99.0.2 peer.test\n"};
  const auto before = snapshot_host();
  const boost::json::array peer{"peer.test"};
  auto leaving = partition({{"to", peer}, {"direction", "out"}, {"port", {port}}, {"protocol", "udp"}});
  auto arriving = partition({{"to", peer}, {"direction", "in"}, {"port", {other_port}}});
  auto told = partition({{"to", peer}, {"mode", "reject"}, {"protocol", "tcp"}});
  const auto limits = leaving->limits();
  EXPECT_TRUE(std::any_of(limits.begin(), limits.end(), [](auto& text) { return text.starts_with("\"peer.test\" is looked up again every 5 s"); }));
  for (auto* fault : {&leaving, &arriving, &told}) fault->apply();
  const auto cut_off = [&](const char* address) {
    EXPECT_EQ(answered(address, port), 0U) << address;
    EXPECT_EQ(answered(address, other_port), 0U) << address;
  };
  cut_off("10.99.0.2");
  EXPECT_EQ(connect_error("10.99.0.2", port), ECONNREFUSED);
  for (auto* address : {"10.97.0.3", "fd99::2"})
    for (auto number : {port, other_port}) EXPECT_EQ(answered(address, number), 20U) << address;
  EXPECT_EQ(connect_error("10.97.0.3", port, 3000), 0);

  // Another address, one of the other family, and the first one is gone.
  names.become("10.97.0.3 peer.test\nfd99::2 peer.test\n");
  unsigned slipped = 0;
  const auto events = events_until({&leaving.fault(), &arriving.fault(), &told.fault()}, 60s, [&](auto& seen) {
    const auto through = ping("10.99.0.2", port, 5, 500, 10);
    slipped += through.sent - through.lost();
    return seen.size() >= 3;
  });
  EXPECT_EQ(slipped, 0U) << "what is cut off stays so";
  ASSERT_EQ(events.size(), 3U);
  for (auto& event : events) {
    EXPECT_EQ(event.event, "partition.addresses");
    EXPECT_EQ(event.with.at("name").as_string(), "peer.test");
    auto added = boost::json::value_to<std::vector<std::string>>(event.with.at("added"));
    std::sort(added.begin(), added.end());
    EXPECT_EQ(added, (std::vector<std::string>{"10.97.0.3", "fd99::2"}));
  }
  for (auto* address : {"10.99.0.2", "10.97.0.3", "fd99::2"}) cut_off(address);
  for (auto* address : {"10.99.0.2", "10.97.0.3"}) EXPECT_EQ(connect_error(address, port), ECONNREFUSED);
  for (auto* fault : {&leaving, &arriving, &told}) EXPECT_TRUE((*fault)->measure().verified);

  for (auto* fault : {&leaving, &arriving, &told}) EXPECT_EQ(fault->undo(), "");
  auto left = differences(before, snapshot_host());
  std::erase_if(left, [](auto& text) { return text.starts_with("mount /etc/hosts "); });  // the names'
  EXPECT_EQ(left, std::vector<std::string>{});
  for (auto* address : {"10.99.0.2", "10.97.0.3", "fd99::2"})
    for (auto number : {port, other_port}) EXPECT_EQ(answered(address, number), 20U) << address;
  EXPECT_EQ(connect_error("10.97.0.3", port, 3000), 0);
}

TEST_F(NetworkPartition, a_name_that_is_not_known_any_more_is_told_once_and_nobody_waits_for_it) {
  // A name server that says nothing: every look-up takes 4 s and more to fail.
  Fd silent;
  network.at_the_other_end([&] {
    testing::shell("ip addr add 10.97.0.3/24 dev sqb");
    silent = Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto address = at("10.99.0.2", 53);
    ASSERT_EQ(::bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  });
  // Of each look-up two, for A and AAAA; the search list gives the name another end.
  unsigned queries = 0;
  const auto count = [&] {
    char query[512];
    for (ssize_t size; (size = ::recv(silent.get(), query, sizeof query, MSG_DONTWAIT)) > 0;)
      queries += std::string_view{query, static_cast<std::size_t>(size)}.find(std::string_view{"\4peer\4test\0", 11}) != std::string_view::npos;
    return queries;
  };
  testing::shell("ip addr add 10.97.0.1/24 dev sqa");
  testing::OwnNames names{"10.97.0.3 peer.test\n", "nameserver 10.99.0.2\nsearch invalid\noptions timeout:4 attempts:1\n"};
  auto off = partition({{"to", {"peer.test"}}});
  off.apply();
  names.become("127.0.0.1 localhost\n");
  auto longest = Clock::duration::zero();
  std::vector<FaultEvent> events;
  for (const auto until = Clock::now() + 120s; count() < 5 && Clock::now() < until; std::this_thread::sleep_for(50ms)) {
    const auto start = Clock::now();
    for (auto& event : off->events()) events.push_back(std::move(event));
    longest = std::max(longest, Clock::now() - start);
  }
  EXPECT_GE(queries, 5U) << "the third look-up";
  ASSERT_EQ(events.size(), 1U) << "two have failed";
  EXPECT_EQ(events[0].event, "partition.lookup_failed");
  EXPECT_EQ(events[0].with.at("name").as_string(), "peer.test");
  EXPECT_EQ(answered("10.97.0.3", port), 0U) << "what is there is kept";
  // The third look-up is on its way.
  const auto start = Clock::now();
  EXPECT_EQ(off.undo(), "");
  longest = std::max(longest, Clock::now() - start);
  EXPECT_LT(longest, 3s);
  EXPECT_EQ(answered("10.97.0.3", port), 20U);
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
