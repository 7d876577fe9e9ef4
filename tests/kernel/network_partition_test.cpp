// network.partition on real packets, in network namespaces of the test's own: who is cut off and who is not.
#include "tests/kernel/partition_under_test.hpp"

namespace squall {
namespace {

using namespace testing;

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

TEST_F(NetworkPartition, offers_no_mechanism_since_it_has_one_only) {
  try {
    partition({{"mechanism", "kernel"}});
    ADD_FAILURE() << "it was accepted";
  } catch (const std::exception& e) {
    EXPECT_NE(std::string(e.what()).find("unknown key \"mechanism\""), std::string::npos) << e.what();
  }
  const auto parameters = boost::json::serialize(find_fault("network.partition")->parameters->json_schema());
  EXPECT_EQ(parameters.find("mechanism"), std::string::npos);
  EXPECT_NE(parameters.find("what it receives, or both (default: both)"), std::string::npos) << parameters;
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
  for (auto [with, error] :
       {std::pair{"automatic", ECONNREFUSED}, {"icmp", EHOSTUNREACH}, {"rst", ECONNREFUSED}}) {
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

TEST_F(NetworkPartition,
       the_control_channel_and_the_metadata_address_are_spared_unless_isolation_is_allowed) {
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
  EXPECT_NE(fmt::format("{}", fmt::join(off->limits(), "; "))
                .find("tcp port 22 and 2222 (ssh, which carries control) is not touched"),
            std::string::npos);
}

TEST_F(NetworkPartition, a_delay_on_the_same_device_opens_no_way_through) {
  for (auto* direction : {"out", "in"})
    for (auto* mode : {"drop", "reject"})
      for (bool delay_first : {false, true}) {
        auto off = partition({{"direction", direction}, {"mode", mode}, {"protocol", "tcp"}});
        RunFault late{"network.delay",
                      {{"delay", "1ms"}, {"direction", direction}, {"mechanism", "userland"}},
                      {{"interface", "sqa"}}};
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
  const ServerProcess near{[] { return std::make_shared<int>(0); }, one.folder},
      neighbour{[] { return std::make_shared<int>(0); }, other.folder};
  const auto lost_by = [&](const testing::OwnGroup& group) {
    return testing::in_cgroup(
        group.folder, [] { return static_cast<double>(ping("10.99.0.2", port, 20, 500, 300).lost()); });
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
  testing::shell(
      "ip link add sqbr type bridge && ip addr flush dev sqa && ip link set sqa master sqbr && ip addr add "
      "10.99.0.1/24 dev sqbr && ip link set sqbr up");
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
    EXPECT_NE(why("network.partition", {{"direction", direction}, {"mode", "reject"}})
                  .find("aim at its master sqbr"),
              std::string::npos);
    EXPECT_NE(why("network.delay", {{"direction", direction}, {"delay", "1ms"}, {"mechanism", "userland"}})
                  .find("aim at its master sqbr"),
              std::string::npos);
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
      EXPECT_NE(std::string(e.what()).find(
                    fmt::format("[{}] too, which is protected on this host", neighbour.pid())),
                std::string::npos)
          << e.what();
    }
  }
}

TEST_F(NetworkPartition, spares_peers_that_are_left_out) {
  auto cut = partition({{"except", {"10.99.0.0/30"}}});
  EXPECT_NE(cut->targets().front().find("but not to or from 10.99.0.0/30"), std::string::npos)
      << cut->targets().front();
  testing::ping("10.99.0.2", port, 1, 0, 3'000);  // a device that was just made may not carry anything yet
  cut.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 20U);
  EXPECT_EQ(answered("fd99::2", port), 0U);
  EXPECT_TRUE(cut->measure().verified) << cut->measure().reason;
}

}  // namespace
}  // namespace squall
