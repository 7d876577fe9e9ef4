// A ruleset that somebody saves while a fault is in force (nft list ruleset) can be loaded afterwards, and
// loading it leaves nothing of ours behind.
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "injector/host/connections/connection_tracking.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using boost::json::object;
using testing::echo_at;
using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;
using testing::shell;

constexpr std::uint16_t port = 7031;

struct Case {
  const char* name;
  object with, on;
};

class SavedRuleset : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  OwnNetwork network;
  ServerProcess server{echo_at(port)};
  test::TemporaryDirectory folder;
};

TEST_F(SavedRuleset, during_a_fault_can_be_loaded_after_it_and_leaves_nothing_behind) {
  const object listener{{"listens_on", port}}, any{{"interface", "any"}}, device{{"interface", "sqa"}};
  const auto file = (folder.path() / "ruleset").string();
  shell(
      "nft add table inet somebody; nft add chain inet somebody in '{ type filter hook input priority 0; }'; "
      "nft add rule inet somebody in tcp dport 99 drop");
  const auto theirs = shell("nft list ruleset");
  const std::vector<Case> cases{
      {"tcp.latency", {{"latency", "10ms"}}, listener},
      {"tcp.latency", {{"latency", "10ms"}, {"to", {"10.99.0.0/24", "fd99::/64"}}}, listener},
      {"http.abort", {{"status", 503}}, listener},
      {"network.refuse", {}, listener},
      {"network.refuse", {{"mode", "drop"}, {"share", "50%"}}, listener},
      {"network.refuse", {{"limit", 2}}, listener},
      {"network.partition", {{"to", {"10.99.0.2", "fd99::2"}}}, any},
      {"network.partition", {{"mode", "reject"}}, device},
      {"network.reset", {}, listener},
  };
  for (auto& one : cases) {
    const auto said =
        fmt::format("{} {} {}", one.name, boost::json::serialize(one.with), boost::json::serialize(one.on));
    std::string saved;
    try {
      RunFault fault(one.name, one.with, one.on);
      fault.apply();
      saved = shell("nft list ruleset");
      EXPECT_EQ(fault.undo(), "") << said;
    } catch (const std::exception& error) {
      ADD_FAILURE() << said << ": " << error.what();
      continue;
    }
    std::ofstream{file} << saved;
    shell("nft flush ruleset");
    try {
      shell("nft -f " + file + " 2>&1 || (nft -f " + file + " 2>&1 | head -5 >&2; false)");
    } catch (const std::exception& error) {
      ADD_FAILURE() << said << ": " << error.what() << "\n" << saved;
      shell(
          "nft flush ruleset; nft add table inet somebody; nft add chain inet somebody in '{ type filter "
          "hook input priority 0; }'; nft add rule inet somebody in tcp dport 99 drop");
    }
    EXPECT_EQ(shell("nft list ruleset"), theirs) << said;
  }
}

TEST_F(SavedRuleset, of_packet_faults_is_told_by_the_doctor) {
  for (auto& one : find_fault("network.delay")->doctor())
    if (one.mechanism.find("ifb") == std::string::npos)
      EXPECT_NE(one.note.find("leave the tables sq… out"), std::string::npos) << one.note;
}

TEST_F(SavedRuleset, that_could_not_be_loaded_is_told_by_the_plan) {
  const auto told = [](const object& with) {
    const auto limits = RunFault {
      "network.partition", with, {{"interface", "sqa"}}
    } -> limits();
    return std::any_of(limits.begin(), limits.end(),
                       [](auto& text) { return text.find("leave the tables sq… out") != std::string::npos; });
  };
  EXPECT_TRUE(told({{"port", {80}}, {"protocol", "tcp"}}));
  EXPECT_FALSE(told({{"to", {"10.99.0.2"}}}));
}

TEST_F(SavedRuleset, connection_tracking_that_comes_with_a_fault_is_told_with_its_count_and_maximum) {
  const RunFault latency("tcp.latency", {{"latency", "10ms"}}, {{"listens_on", port}}),
      limit("network.refuse", {{"limit", 2}}, {{"listens_on", port}}),
      all("network.refuse", {}, {{"listens_on", port}});
  const auto told = [](const RunFault& fault) {
    for (auto& text : const_cast<RunFault&>(fault)->limits())
      if (text.find("connection tracking is switched on by this") != std::string::npos) return text;
    return std::string();
  };
  EXPECT_NE(told(latency).find(" of at most "), std::string::npos) << told(latency);
  EXPECT_NE(told(limit), "");
  EXPECT_EQ(told(all), "") << "refusing everybody needs none";
}

TEST(TrackingTable, would_run_full_by_what_is_there_or_by_what_will_be) {
  EXPECT_FALSE(
      (TrackingTable{.known = true, .tracked = 100, .most = 1000, .expected = 200}.would_run_full()));
  EXPECT_TRUE((TrackingTable{.known = true, .tracked = 0, .most = 1000, .expected = 950}.would_run_full()));
  EXPECT_TRUE((TrackingTable{.known = true, .tracked = 990, .most = 1000, .expected = 5}.would_run_full()));
  EXPECT_FALSE((TrackingTable{.known = false, .tracked = 0, .most = 0, .expected = 5000}.would_run_full()));
}

}  // namespace
}  // namespace squall
