// Processes that cgroup v2 does not tell apart, recognised by a net_cls class; where that hierarchy is
// mounted.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/cgroups/cgroup.hpp"
#include "injector/host/cgroups/net_cls.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"
#include "injector/undo/journal.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/servers.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using testing::Client;
using testing::OwnNetwork;
using testing::ping;
using testing::RunFault;
using testing::ServerProcess;
using testing::UdpEcho;

constexpr std::uint16_t port = 7041, other_port = 7042, relay_port = 7043, other_relay_port = 7044;
constexpr unsigned packets = 15, gap_us = 10'000;
constexpr double once = 149, twice = 298;  // of a delay of 150 ms

// In the root of cgroup v2, where there is one: it must not help.
std::string v2_root() {
  for (auto& mount : read_mounts())
    if (mount.type == "cgroup2") return mount.point;
  return "";
}

auto udp_echo_at(std::uint16_t number) {
  return [number] { return std::make_shared<UdpEcho>(number); };
}

// Asks an upstream for whoever asks it, over one connection that it makes at once or over a new one each
// time; hangs up where the upstream cannot be reached.
auto relay(std::uint16_t from, std::uint16_t to, bool anew) {
  return [=]() -> std::shared_ptr<void> {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in at{
        .sin_family = AF_INET, .sin_port = htons(from), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    if (::bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener, 64) != 0)
      throw std::runtime_error("listen");
    auto upstream = std::make_shared<Client>("127.0.0.1", to);
    std::thread{[=] {
      for (;;) {
        const Fd client{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
        char text[4];
        while (::recv(client.get(), text, 4, MSG_WAITALL) == 4) {
          auto other = anew ? std::make_shared<Client>("127.0.0.1", to) : upstream;
          if (other->error || other->round_trip_ms() < 0 || ::send(client.get(), text, 4, MSG_NOSIGNAL) != 4)
            break;
        }
      }
    }}.detach();
    return upstream;
  };
}

// A child for each SIGUSR1.
std::shared_ptr<void> fork_when_told() {
  ::signal(SIGUSR1, [](int) {
    if (::fork() != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
      ::pause();
  });
  return nullptr;
}

class NetCls : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    auto mounted = net_cls::hierarchy();
    if (!mounted) GTEST_SKIP() << mounted.error();
    hierarchy = *mounted;
    network.emplace();
    before = snapshot_host();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
  }
  cgroup::Group group_of(pid_t pid) const {
    return cgroup::group_of(hierarchy, pid).value_or(cgroup::Group{"?", "?"});
  }
  static bool is_ours(const cgroup::Group& group) {
    return group.path.find("/sq7e57f00d") != std::string::npos;
  }
  std::string root() const { return group_of(::getpid()).path; }
  // The fastest of some round trips: of those that are hit none is quicker than the delay, of others one is,
  // however busy the machine.
  static double udp_ms(std::uint16_t to, const char* address = "127.0.0.1") {
    return ping(address, to, packets, gap_us).quantile(0);
  }
  static double tcp_ms(Client& client) {
    double out = client.round_trip_ms();
    for (int i = 0; i < 4; ++i)
      out = std::min(out, client.round_trip_ms());
    return out;
  }
  // As the guardian does; the rules would go with this process.
  static UndoOutcome put_back_by_the_journal(const RunFault& fault) {
    const auto inverse = fault.inverses().front();
    EXPECT_EQ(inverse.verb, "cgroup.class");
    return find_undo_verb(inverse.verb)->carry_out(inverse.with).outcome;
  }
  static RunFault slow(pid_t pid, const char* direction) {
    return RunFault{"network.delay",
                    {{"delay", "150ms"}, {"direction", direction}, {"mechanism", "userland"}},
                    {{"pid", pid}}};
  }

  cgroup::Hierarchy hierarchy;
  std::optional<OwnNetwork> network;
  HostState before;
};

// A group of the test's own in the hierarchy, with a class id.
struct ClassGroup {
  ClassGroup(const cgroup::Hierarchy& hierarchy, std::uint32_t id)
      : folder(fmt::format("{}/squall-test-{}", hierarchy.point, ::getpid())) {
    std::filesystem::create_directory(folder);
    become(id);
  }
  ~ClassGroup() { ::rmdir(folder.c_str()); }
  void become(std::uint32_t id) const {
    write_file(folder + "/net_cls.classid", std::to_string(id), "write a class id");
  }
  const std::string folder;
};

TEST_F(NetCls, one_process_is_hit_and_no_other_in_either_direction) {
  const ServerProcess one{udp_echo_at(port), v2_root()}, other{udp_echo_at(other_port), v2_root()};
  for (auto* direction : {"out", "in"}) {
    auto fault = slow(one.pid(), direction);
    fault.apply();
    EXPECT_TRUE(is_ours(group_of(one.pid()))) << group_of(one.pid()).path;
    EXPECT_EQ(group_of(other.pid()).path, root());
    EXPECT_GE(udp_ms(port), once) << direction;
    EXPECT_GE(udp_ms(port, "::1"), once) << direction;
    EXPECT_LT(udp_ms(other_port), once) << direction;
    EXPECT_EQ(fault->measure().samples, 2 * packets);
    EXPECT_EQ(fault.undo(), "");
    EXPECT_EQ(group_of(one.pid()).path, root());
    EXPECT_LT(udp_ms(port), once);
  }
}

TEST_F(NetCls, a_connection_that_existed_before_is_hit) {
  const ServerProcess server{testing::echo_at(port), v2_root()},
      other{testing::echo_at(other_port), v2_root()};
  Client open{"127.0.0.1", port}, elsewhere{"127.0.0.1", other_port};
  ASSERT_GE(open.round_trip_ms(), 0);
  auto fault = slow(server.pid(), "out");
  fault.apply();
  EXPECT_GE(tcp_ms(open), once);
  EXPECT_LT(tcp_ms(elsewhere), once);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_LT(tcp_ms(open), once);
}

TEST_F(NetCls, answers_to_one_process_alone_are_hit) {
  const ServerProcess upstream{testing::echo_at(port), v2_root()},
      one{relay(relay_port, port, false), v2_root()}, other{relay(other_relay_port, port, false), v2_root()};
  Client asks{"127.0.0.1", relay_port}, asks_other{"127.0.0.1", other_relay_port};
  ASSERT_GE(asks.round_trip_ms(), 0);
  RunFault fault{
      "network.delay", {{"delay", "150ms"}, {"direction", "in"}, {"port", port}}, {{"pid", one.pid()}}};
  fault.apply();
  EXPECT_GE(tcp_ms(asks), once);
  EXPECT_LT(tcp_ms(asks_other), once);
  EXPECT_GE(fault->measure().samples, 5U);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_LT(tcp_ms(asks), once);
}

TEST_F(NetCls, new_connections_of_one_process_are_refused_and_live_ones_reset) {
  const ServerProcess upstream{testing::echo_at(port), v2_root()},
      one{relay(relay_port, port, true), v2_root()}, other{relay(other_relay_port, port, true), v2_root()};
  {
    RunFault fault{"network.refuse", {{"port", port}}, {{"pid", one.pid()}}};
    fault.apply();
    EXPECT_EQ(Client("127.0.0.1", relay_port).round_trip_ms(), -1);
    EXPECT_GE(Client("127.0.0.1", other_relay_port).round_trip_ms(), 0);
    EXPECT_TRUE(fault->measure().verified);
    EXPECT_EQ(fault.undo(), "");
  }
  Client open{"127.0.0.1", relay_port}, elsewhere{"127.0.0.1", other_relay_port};
  ASSERT_GE(open.round_trip_ms(), 0);
  ASSERT_GE(elsewhere.round_trip_ms(), 0);
  RunFault fault{"network.reset", {}, {{"pid", one.pid()}}};
  fault.apply();
  EXPECT_EQ(open.round_trip_ms(), -1);
  EXPECT_GE(elsewhere.round_trip_ms(), 0);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_EQ(group_of(one.pid()).path, root());
}

TEST_F(NetCls, one_process_is_cut_off_silently_or_told) {
  const ServerProcess one{udp_echo_at(port), v2_root()}, other{udp_echo_at(other_port), v2_root()};
  for (auto* direction : {"out", "in", "both"})
    for (auto* mode : {"drop", "reject"}) {
      RunFault fault{"network.partition", {{"direction", direction}, {"mode", mode}}, {{"pid", one.pid()}}};
      fault.apply();
      EXPECT_TRUE(ping("127.0.0.1", port, 10, gap_us, 300).round_trips_ms.empty()) << direction << mode;
      EXPECT_EQ(ping("127.0.0.1", other_port, 10, gap_us).lost(), 0U) << direction << mode;
      EXPECT_TRUE(fault->measure().verified) << direction << mode;
      EXPECT_EQ(fault.undo(), "");
    }
}

TEST_F(NetCls, lookups_of_one_process_fail) {
  auto server = test::start_dnsmasq({"--address=/web.test/10.1.2.3"});
  const ServerProcess asker{[] { return nullptr; }, v2_root()};
  RunFault fault{"dns.fail", {{"port", server.process->port()}}, {{"pid", asker.pid()}}};
  fault.apply();
  const auto dig = [&](const std::string& group) {
    return testing::shell(
        fmt::format("echo $$ >{}/cgroup.procs; dig @127.0.0.1 -p {} +tries=1 +timeout=5 web.test A", group,
                    server.process->port()));
  };
  // As a child of the process would.
  EXPECT_NE(dig(group_of(asker.pid()).folder).find("NXDOMAIN"), std::string::npos);
  EXPECT_NE(dig(group_of(::getpid()).folder).find("10.1.2.3"), std::string::npos);
  EXPECT_EQ(fault->measure().measured.at("answers").to_number<int>(), 1);
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(NetCls, children_forked_meanwhile_go_back_too) {
  const ServerProcess parent{fork_when_told, v2_root()};
  auto fault = slow(parent.pid(), "out");
  fault.apply();
  const auto ours = group_of(parent.pid());
  for (std::size_t children = 1; children <= 3; ++children) {
    ::kill(parent.pid(), SIGUSR1);
    for (int i = 0; i < 500 && cgroup::processes(ours).size() <= children; ++i)
      std::this_thread::sleep_for(10ms);
  }
  const auto all = cgroup::processes(ours);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(put_back_by_the_journal(fault), UndoOutcome::undone);
  for (auto pid : all)
    EXPECT_EQ(group_of(pid).path, root());
  EXPECT_FALSE(std::filesystem::exists(ours.folder));
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(NetCls, the_undo_needs_no_process_and_is_as_good_twice) {
  auto one = std::make_unique<ServerProcess>(udp_echo_at(port), v2_root());
  auto fault = slow(one->pid(), "out");
  fault.apply();
  const auto ours = group_of(one->pid());
  one.reset();
  EXPECT_EQ(put_back_by_the_journal(fault), UndoOutcome::undone);
  EXPECT_FALSE(std::filesystem::exists(ours.folder));
  EXPECT_EQ(put_back_by_the_journal(fault), UndoOutcome::already);
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(NetCls, what_others_have_changed_is_left_to_them) {
  const ServerProcess one{udp_echo_at(port), v2_root()};
  auto fault = slow(one.pid(), "out");
  fault.apply();
  const auto ours = group_of(one.pid());
  const auto id = std::string(trimmed(*read_file(ours.folder + "/net_cls.classid")));
  write_file(ours.folder + "/net_cls.classid", "4711", "change it");
  EXPECT_EQ(put_back_by_the_journal(fault), UndoOutcome::conflict);
  EXPECT_EQ(group_of(one.pid()), ours);
  write_file(ours.folder + "/net_cls.classid", id, "change it back");
  const auto below = ours.folder + "/somebody";
  ASSERT_EQ(::mkdir(below.c_str(), 0755), 0);
  EXPECT_EQ(put_back_by_the_journal(fault), UndoOutcome::conflict);
  EXPECT_EQ(group_of(one.pid()).path, root()) << "the processes go back all the same";
  ::rmdir(below.c_str());
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(NetCls, a_process_that_was_moved_since_the_plan_is_left_alone) {
  const ServerProcess one{udp_echo_at(port), v2_root()};
  auto fault = slow(one.pid(), "out");
  {
    const ClassGroup elsewhere{hierarchy, 0};
    write_file(elsewhere.folder + "/cgroup.procs", std::to_string(one.pid()), "move it");
    EXPECT_THROW(fault.apply(), std::runtime_error);
    EXPECT_EQ(group_of(one.pid()).folder, elsewhere.folder);
    write_file(group_of(::getpid()).folder + "/cgroup.procs", std::to_string(one.pid()), "move it back");
  }
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(NetCls, faults_on_one_process_share_its_class) {
  const ServerProcess one{udp_echo_at(port), v2_root()};
  auto first = slow(one.pid(), "out");
  auto second = slow(one.pid(), "in");
  first.apply();
  second.apply();
  EXPECT_GE(udp_ms(port), twice);
  EXPECT_EQ(first.undo(), "");
  EXPECT_TRUE(is_ours(group_of(one.pid())));
  EXPECT_GE(udp_ms(port), once);
  EXPECT_LT(udp_ms(port), twice);
  auto third = slow(one.pid(), "out");
  third.apply();
  EXPECT_EQ(second.undo(), "");
  EXPECT_GE(udp_ms(port), once);
  EXPECT_EQ(third.undo(), "");
  EXPECT_EQ(group_of(one.pid()).path, root());
}

TEST_F(NetCls, a_class_of_its_own_is_used_and_one_that_is_shared_is_not) {
  const ClassGroup group{hierarchy, 0x77770001};
  auto join = [&](auto start) {
    return [&, start]() -> std::shared_ptr<void> {
      std::ofstream{group.folder + "/cgroup.procs"} << ::getpid();
      return start();
    };
  };
  const ServerProcess one{join(udp_echo_at(port)), v2_root()};
  {
    auto fault = slow(one.pid(), "both");
    fault.apply();
    EXPECT_EQ(group_of(one.pid()).folder, group.folder);
    EXPECT_GE(udp_ms(port), twice);
    EXPECT_EQ(fault.undo(), "");
  }
  {
    const ServerProcess other{join(udp_echo_at(other_port)), v2_root()};
    auto fault = slow(one.pid(), "both");
    fault.apply();
    EXPECT_TRUE(is_ours(group_of(one.pid())));
    EXPECT_GE(udp_ms(port), twice);
    EXPECT_LT(udp_ms(other_port), once);
    EXPECT_EQ(fault.undo(), "");
  }
  EXPECT_EQ(group_of(one.pid()).folder, group.folder);
}

TEST_F(NetCls, sigkill_of_the_injector_puts_the_process_back) {
  const test::TemporaryDirectory folder;
  const auto state = (folder.path() / "state").string();
  const ServerProcess one{fork_when_told, v2_root()};
  test::InjectorProcess injector{state};
  injector.must({{"do", "hello"}, {"version", 1}, {"run", "killed"}, {"lease_ns", 60'000'000'000}});
  injector.must({{"do", "apply"},
                 {"step", "slow"},
                 {"fault", "network.delay"},
                 {"on", {{"pid", one.pid()}}},
                 {"with", {{"delay", "60ms"}}},
                 {"for_ns", 60'000'000'000},
                 {"seed", 1}});
  const auto ours = group_of(one.pid());
  ASSERT_NE(ours.path, root());
  // Another session has to wait.
  {
    test::InjectorProcess second{state};
    second.must({{"do", "hello"}, {"version", 1}, {"run", "another"}, {"lease_ns", 60'000'000'000}});
    const auto refused = second.ask({{"do", "apply"},
                                     {"step", "slow"},
                                     {"fault", "network.delay"},
                                     {"on", {{"pid", one.pid()}}},
                                     {"with", {{"delay", "60ms"}}},
                                     {"for_ns", 60'000'000'000},
                                     {"seed", 1}});
    EXPECT_FALSE(refused.at("ok").as_bool());
    EXPECT_NE(boost::json::serialize(refused).find("another session"), std::string::npos) << refused;
  }
  ::kill(one.pid(), SIGUSR1);
  for (int i = 0; i < 500 && cgroup::processes(ours).size() < 2; ++i)
    std::this_thread::sleep_for(10ms);
  const auto all = cgroup::processes(ours);
  EXPECT_EQ(all.size(), 2U);
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  for (int i = 0; i < 1000 && (std::filesystem::exists(ours.folder) || !read_journals(state).empty()); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(std::filesystem::exists(ours.folder));
  EXPECT_TRUE(read_journals(state).empty());
  for (auto pid : all)
    EXPECT_EQ(group_of(pid).path, root());
}

// What the doctor says is so: where net_cls is mounted a process in the root of cgroup v2 can be aimed at,
// else it is refused with the way out.
TEST(ProcessAim, is_refused_with_the_ways_out_where_nothing_tells_the_process) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const OwnNetwork network;
  const ServerProcess one{udp_echo_at(port), v2_root()};
  const auto mounted = net_cls::hierarchy();
  const bool can = mounted.has_value();
  for (auto& option : find_fault("network.delay")->doctor())
    if (option.chosen)
      EXPECT_NE(option.note.find(can ? "by a net_cls class" : mounted.error()), std::string::npos)
          << option.note;
  try {
    RunFault{"network.delay", {{"delay", "1ms"}}, {{"pid", one.pid()}}};
    EXPECT_TRUE(can) << "it was not refused";
  } catch (const std::exception& refused) {
    EXPECT_FALSE(can) << refused.what();
    for (auto* part : {"net_cls", "listens_on", "cgroup of its own"})
      EXPECT_NE(std::string(refused.what()).find(part), std::string::npos) << refused.what();
  }
}

}  // namespace
}  // namespace squall
