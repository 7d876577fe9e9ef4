// A proxy in front of a server changes nothing of who its clients are: nginx, which goes by their addresses,
// of both families.
#include <signal.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/faults/afterwards.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/servers.hpp"

namespace squall {
namespace {

using boost::json::object;
using testing::OwnNetwork;
using testing::RunFault;
using testing::shell;

constexpr std::uint16_t port = 7351;

// What each of the clients asks for: its status, and how nginx calls it.
struct Asked {
  std::string from, of, path;
};
const std::vector<Asked>& all_that_is_asked() {
  static const std::vector<Asked> out{
      {"far", "10.99.0.1", "local"},  {"far", "10.99.0.1", "peer"},   {"far", "[fd99::1]", "local"},
      {"far", "[fd99::1]", "peer"},   {"near", "10.99.0.1", "local"}, {"near", "10.99.0.1", "peer"},
      {"near", "127.0.0.1", "lo"},    {"near", "10.99.0.1", "lo"},    {"near", "[::1]", "lo"},
      {"near", "[fd99::1]", "local"}, {"near", "127.0.0.5", "lo"},
  };
  return out;
}

class ClientAddress : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    // A file: nginx returns texts before it asks who wants them.
    files.write("x", "yes\n");
    std::filesystem::permissions(files.path(), std::filesystem::perms{0755});
    const auto only = [&](const char* path, const char* whom) {
      return fmt::format(
          "location /{}/ {{ alias {}/; {} deny all; add_header X-Client $remote_addr always; }}\n", path,
          files.path().string(), whom);
    };
    nginx = test::start_nginx(fmt::format("listen *:{0}; listen [::]:{0};\n", port) +
                                  only("local", "allow 10.99.0.1; allow fd99::1;") +
                                  only("peer", "allow 10.99.0.2; allow fd99::2;") +
                                  only("lo", "allow 127.0.0.0/8; allow ::1;"),
                              false, 7352);
  }
  void TearDown() override { end_afterwards(); }

  // The status and the client's address by nginx.
  std::string answer(const Asked& what) const {
    std::string out;
    const auto ask = [&] {
      out =
          shell(fmt::format("curl -s --max-time 20 -o /dev/null -w '%{{http_code}} %header{{x-client}}' "
                            "http://{}:{}/{}/x || true",
                            what.of, port, what.path));
    };
    what.from == "far" ? network.at_the_other_end(ask) : ask();
    return out;
  }
  std::vector<std::string> answers() const {
    std::vector<std::string> out;
    for (auto& one : all_that_is_asked())
      out.push_back(fmt::format("{} asks {} for {}: {}", one.from, one.of, one.path, answer(one)));
    return out;
  }
  RunFault fault(const std::string& name, object with) const {
    return RunFault{name, std::move(with), {{"listens_on", port}, {"pid", nginx.process->pid()}}};
  }

  OwnNetwork network;
  test::TemporaryDirectory files;
  test::Server nginx;
};

TEST_F(ClientAddress, is_what_it_was_through_each_proxy) {
  const auto before = answers();
  ASSERT_EQ(before[0], "far asks 10.99.0.1 for local: 403 10.99.0.2");
  ASSERT_EQ(before[1], "far asks 10.99.0.1 for peer: 200 10.99.0.2");
  ASSERT_EQ(before[3], "far asks [fd99::1] for peer: 200 fd99::2");
  for (auto& [name, with] : std::vector<std::pair<const char*, object>>{
           {"tcp.latency", {{"latency", "20ms"}}}, {"http.delay", {{"delay", "20ms"}}}}) {
    const auto state = snapshot_host();
    auto slow = fault(name, with);
    slow.apply();
    EXPECT_EQ(answers(), before) << name;
    const auto dose = slow->measure();
    EXPECT_TRUE(dose.verified) << name << ": " << dose.reason;
    EXPECT_EQ(slow.undo(), "");
    EXPECT_EQ(answers(), before) << name << " is over";
    end_afterwards();
    EXPECT_EQ(differences(state, snapshot_host()), std::vector<std::string>{}) << name;
  }
}

// By the strictest check of where packets come from, and where containers' networks masquerade, as on many a
// host.
TEST_F(ClientAddress, is_not_lost_to_those_who_masquerade) {
  const auto before = answers();
  shell("for d in all sqa lo; do echo 1 > /proc/sys/net/ipv4/conf/$d/rp_filter; done");
  shell(
      "nft add table ip others && nft 'add chain ip others post { type nat hook postrouting priority 100; }' "
      "&& nft add rule ip others post masquerade");
  shell(
      "nft add table ip6 others && nft 'add chain ip6 others post { type nat hook postrouting priority 100; "
      "}' && nft add rule ip6 others post masquerade");
  auto slow = fault("tcp.latency", {{"latency", "5ms"}});
  slow.apply();
  const auto now = answers();
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(now[i], before[i]);
}

TEST_F(ClientAddress, is_not_lost_to_those_who_change_priorities) {
  shell(
      "nft add table inet others && nft 'add chain inet others out { type filter hook output priority "
      "mangle; }' && nft add rule inet others out meta priority set 1:5");
  auto slow = fault("tcp.latency", {{"latency", "5ms"}});
  slow.apply();
  EXPECT_EQ(answer({"far", "10.99.0.1", "local"}), "000 ") << "nobody is served by another's name";
  EXPECT_EQ(slow->measure().measured.at("connections_without_a_server"), 1);
  EXPECT_EQ(slow.undo(), "");
  EXPECT_EQ(answer({"far", "10.99.0.1", "local"}), "403 10.99.0.2");
}

// Somebody saves the ruleset while clients are known.
TEST_F(ClientAddress, can_be_read_back_by_nft) {
  auto slow = fault("tcp.latency", {{"latency", "5ms"}});
  slow.apply();
  const auto before = answers();
  const auto file = files.write("ruleset", shell("nft list ruleset")).string();
  EXPECT_NE(shell("cat " + file).find("10.99.0.2"), std::string::npos);
  EXPECT_EQ(slow.undo(), "");
  shell("nft flush ruleset && (nft -f " + file + " || (cat " + file + " >&2; false))");
  EXPECT_EQ(shell("nft list ruleset"), "");
}

TEST_F(ClientAddress, is_that_of_each_of_many_clients) {
  network.at_the_other_end([] {
    for (int i = 10; i < 60; ++i)
      shell(fmt::format("ip addr add 10.99.0.{}/24 dev sqb", i));
  });
  auto slow = fault("tcp.latency", {{"latency", "5ms"}});
  slow.apply();
  network.at_the_other_end([&] {
    for (int round = 0; round < 2; ++round)
      for (int i = 10; i < 60; ++i)
        EXPECT_EQ(shell(fmt::format("curl -s --max-time 20 --interface 10.99.0.{} -o /dev/null -w "
                                    "'%header{{x-client}}' http://10.99.0.1:{}/peer/x",
                                    i, port)),
                  fmt::format("10.99.0.{}", i));
  });
}

// Two proxies' rules are in force at once: neither takes the other's clients for its own.
TEST_F(ClientAddress, is_kept_by_two_faults_at_once) {
  auto one =
      RunFault("tcp.latency", {{"latency", "5ms"}, {"to", {"10.99.0.0/24"}}}, {{"listens_on", port}}, 1);
  auto two = RunFault("tcp.latency", {{"latency", "5ms"}, {"to", {"fd99::/64"}}}, {{"listens_on", port}}, 2);
  const auto before = answers();
  one.apply();
  two.apply();
  EXPECT_EQ(answers(), before);
}

TEST_F(ClientAddress, leaves_no_rule_and_no_route_when_the_injector_is_killed) {
  const auto state = snapshot_host();
  const auto rules = [] {
    return shell(
        "ip rule show; ip -6 rule show; ip route show table all; ip -6 route show table all | grep -v "
        "anycast; nft list ruleset");
  };
  const auto before = answers();
  const auto then = rules();
  test::TemporaryDirectory folder;
  test::InjectorProcess injector{(folder.path() / "state").string()};
  injector.must({{"do", "hello"}, {"version", 1}, {"run", "address"}});
  injector.must({{"do", "apply"},
                 {"step", "one"},
                 {"fault", "tcp.latency"},
                 {"on", object{{"listens_on", port}}},
                 {"with", object{{"latency", "20ms"}}},
                 {"for_ns", 60'000'000'000},
                 {"seed", 1}});
  EXPECT_EQ(answers(), before);
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  EXPECT_EQ(answers(), before);
  EXPECT_EQ(rules(), then);
  EXPECT_EQ(differences(state, snapshot_host()), std::vector<std::string>{});
}

}  // namespace
}  // namespace squall
