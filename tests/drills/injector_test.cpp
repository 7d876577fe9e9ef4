// The injector by its protocol, in a network of the test's own: leases, lost links, hangs, and two callers of one host.
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "injector/journal.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/server_process.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

class Injector : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    network.emplace();
    watcher.emplace(state());
    watcher->must({{"do", "hello"}, {"version", 1}});
    watcher->must({{"do", "snapshot"}});
  }

  std::string state() const { return (folder.path() / "state").string(); }
  static json::object hello(const std::string& run, std::int64_t lease_ns = 10'000'000'000) {
    return {{"do", "hello"}, {"version", 1}, {"run", run}, {"lease_ns", lease_ns}};
  }
  static json::object slow(const std::string& step, const std::string& interface, int seconds = 60) {
    return {{"do", "apply"},
            {"step", step},
            {"fault", "network.delay"},
            {"on", json::object{{"interface", interface}}},
            {"with", json::object{{"delay", "50ms"}}},
            {"for_ns", seconds * 1'000'000'000LL},
            {"seed", 1}};
  }
  std::string changed() const { return json::serialize(watcher->must({{"do", "diff"}}).at("differences")); }
  // The guardian needs a moment when the injector is not there to do it.
  ::testing::AssertionResult as_found_within(std::chrono::milliseconds patience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (changed() != "[]" || !read_journals(state()).empty())
      if (std::chrono::steady_clock::now() > until) return ::testing::AssertionFailure() << changed() << ", " << read_journals(state()).size() << " journals";
    return ::testing::AssertionSuccess();
  }

  TemporaryDirectory folder;
  std::optional<squall::testing::OwnNetwork> network;
  mutable std::optional<InjectorProcess> watcher;
};

TEST_F(Injector, undoes_when_its_lease_runs_out) {
  InjectorProcess injector{state()};
  injector.must(hello("forgetful", 700'000'000));
  const auto start = std::chrono::steady_clock::now();
  injector.must(slow("slow", "sqa"));
  EXPECT_NE(changed(), "[]");
  const auto undone = injector.wait_for_event("undone");
  EXPECT_GE(std::chrono::steady_clock::now() - start, 700ms);
  EXPECT_EQ(undone.at("why"), "the lease ran out");
  EXPECT_TRUE(undone.at("clean").as_bool());
  EXPECT_EQ(changed(), "[]");
}

TEST_F(Injector, keeps_a_fault_while_its_lease_is_renewed) {
  InjectorProcess injector{state()};
  injector.must(hello("patient", 1'500'000'000));
  injector.must(slow("slow", "sqa"));
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(250ms);
    injector.must({{"do", "renew"}});
  }
  EXPECT_TRUE(injector.must({{"do", "undo"}, {"step", "slow"}}).at("clean").as_bool());
  EXPECT_EQ(changed(), "[]");
}

TEST_F(Injector, undoes_at_once_when_its_link_ends) {
  InjectorProcess injector{state()};
  injector.must(hello("cut off"));
  injector.must(slow("slow", "sqa"));
  injector.must(slow("slower", "lo"));
  injector.hang_up();
  EXPECT_EQ(injector.end(), 0);
  EXPECT_EQ(changed(), "[]");
  EXPECT_TRUE(read_journals(state()).empty());
}

TEST_F(Injector, that_hangs_is_ended_by_its_guardian) {
  InjectorProcess injector{state()};
  injector.must(hello("hung"));
  injector.must(slow("slow", "sqa"));
  ::kill(injector.pid(), SIGSTOP);
  const int status = injector.end();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_TRUE(as_found_within(5s));
}

TEST_F(Injector, that_is_killed_with_many_faults_in_force_leaves_none) {
  // Fifty devices of a network of the test's own; a fault on each.
  constexpr int faults = 50;
  for (int i = 0; i < faults / 2; ++i) squall::testing::shell(fmt::format("ip link add sqm{0} type veth peer name sqn{0} && ip link set sqm{0} up && ip link set sqn{0} up", i));
  std::this_thread::sleep_for(200ms);  // addresses settle
  watcher->must({{"do", "snapshot"}});
  InjectorProcess injector{state()};
  injector.must(hello("many"));
  for (int i = 0; i < faults; ++i) injector.must(slow(fmt::format("step {}", i), fmt::format("sq{}{}", i % 2 ? "n" : "m", i / 2)));
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(as_found_within(20s));
  RecordProperty("ms_to_as_found", static_cast<int>((std::chrono::steady_clock::now() - start) / 1ms));
}

TEST_F(Injector, tells_a_second_caller_who_holds_what_until_when) {
  InjectorProcess first{state()}, second{state()};
  first.must(hello("evening peak"));
  first.must(slow("slow", "sqa"));
  second.must(hello("another drill"));
  const auto refused = second.ask(slow("mine", "sqa"));
  ASSERT_FALSE(refused.at("ok").as_bool());
  EXPECT_EQ(refused.at("kind"), "conflict");
  const std::string text{refused.at("error").as_string()};
  for (auto* part : {"\"mine\"", "\"slow\"", "\"evening peak\"", "network.delay", "until ", "UTC"}) EXPECT_NE(text.find(part), text.npos) << text;
  // What does not collide may share the host.
  EXPECT_TRUE(second.ask(slow("elsewhere", "lo")).at("ok").as_bool());
  first.must({{"do", "bye"}});
  EXPECT_TRUE(second.ask(slow("mine", "sqa")).at("ok").as_bool());
  second.must({{"do", "bye"}});
  EXPECT_EQ(changed(), "[]");
}

TEST_F(Injector, that_is_idle_does_not_wake_up) {
  InjectorProcess injector{state()};
  injector.must(hello("idle"));
  injector.must(slow("slow", "sqa"));
  injector.must({{"do", "undo"}, {"step", "slow"}});
  std::this_thread::sleep_for(1s);  // what still had to be tidied up
  auto woken = [&] {
    std::int64_t sum = 0;
    for (auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", injector.pid()))) {
      std::ifstream status{task.path() / "status"};
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoll(line.substr(24));
    }
    return sum;
  };
  const auto before = woken();
  std::this_thread::sleep_for(2s);
  EXPECT_EQ(woken(), before);
}

}  // namespace
}  // namespace squall::test
