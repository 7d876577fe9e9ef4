// What becomes of a host when more goes wrong than one process dying: a state folder that goes, two of them,
// injectors and guardians that stand still, and many faults that end at once.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "injector/system/suspended.hpp"
#include "injector/undo/host_sessions.hpp"
#include "injector/undo/recovery.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;
using squall::testing::shell;

class Restoration : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    network.emplace();
  }
  std::string state(const char* name = "state") const { return (folder.path() / name).string(); }
  static json::object hello() {
    return {{"do", "hello"}, {"version", 1}, {"run", "restoration"}, {"lease_ns", 60'000'000'000LL}};
  }
  static json::object apply(const std::string& step, const std::string& fault, const std::string& interface,
                            json::object with, std::int64_t for_ns = 60'000'000'000LL) {
    return {{"do", "apply"},
            {"step", step},
            {"fault", fault},
            {"on", json::object{{"interface", interface}}},
            {"with", std::move(with)},
            {"for_ns", for_ns},
            {"seed", 1}};
  }
  static json::object smaller(int mtu = 1400) {
    return apply("smaller", "network.mtu", "sqa", {{"mtu", mtu}});
  }
  static std::string link() { return shell("ip -o link show sqa"); }
  static bool is_small() { return link().find("mtu 1400") != std::string::npos; }
  static bool large_within(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (is_small() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(20ms);
    return !is_small();
  }
  static pid_t guardian_of(pid_t injector) {
    pid_t out = 0;
    std::ifstream{fmt::format("/proc/{0}/task/{0}/children", injector)} >> out;
    return out;
  }
  static std::string told(const std::string& verb, const std::string& state, const std::string& more = "") {
    return shell(fmt::format("{}/squall-injector {} --state '{}' {} 2>&1; echo \"exit $?\"", bin_dir(), verb,
                             state, more));
  }

  TemporaryDirectory folder;
  std::optional<squall::testing::OwnNetwork> network;
};

TEST_F(Restoration, is_done_by_the_guardian_though_the_state_folder_is_gone) {
  InjectorProcess injector{state()};
  const auto session = std::string(injector.must(hello()).at("session").as_string());
  injector.must(smaller());
  ASSERT_TRUE(is_small());
  fs::remove_all(state());
  // Nobody says that nothing is in force while something is.
  EXPECT_EQ(told("status", state()).find("nothing is in force"), std::string::npos)
      << told("status", state());
  EXPECT_NE(told("status", state()).find("smaller (network.mtu)"), std::string::npos)
      << told("status", state());
  ::kill(injector.pid(), SIGKILL);
  EXPECT_TRUE(large_within(10s)) << link();
  const auto recovered = told("recover", state(), "--output json");
  EXPECT_NE(recovered.find(session), std::string::npos)
      << "it does not say who has put the host back: " << recovered;
  EXPECT_NE(recovered.find("exit 0"), std::string::npos) << recovered;
}

TEST_F(Restoration, is_done_by_squall_undo_though_the_state_folder_is_gone) {
  InjectorProcess injector{state()};
  injector.must(hello());
  injector.must(smaller());
  fs::remove_all(state());
  const auto undone = told("undo", state());
  EXPECT_FALSE(is_small()) << undone;
  EXPECT_NE(undone.find("exit 0"), std::string::npos) << undone;
}

TEST_F(Restoration, of_which_nobody_knows_is_not_called_done) {
  InjectorProcess injector{state()};
  injector.must(hello());
  injector.must(smaller());
  fs::remove_all(state());
  const auto guardian = guardian_of(injector.pid());
  ::kill(injector.pid(), SIGSTOP);  // it would start another one
  ::kill(guardian, SIGKILL);
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  EXPECT_EQ(told("status", state()).find("nothing is in force"), std::string::npos)
      << told("status", state());
  const auto recovered = told("recover", state());
  EXPECT_NE(recovered.find("exit 6"), std::string::npos) << recovered;
  EXPECT_NE(recovered.find("nobody says what became of it"), std::string::npos) << recovered;
  EXPECT_NE(told("recover", state()).find("exit 0"), std::string::npos)
      << "it blocks nobody: it is told once";
}

TEST_F(Restoration, is_one_injectors_of_a_host_though_there_are_two_state_folders) {
  InjectorProcess one{state("one")}, other{state("other")};
  one.must(hello());
  other.must(hello());
  one.must(smaller());
  const auto refused = other.ask(smaller(1300));
  EXPECT_FALSE(refused.at("ok").as_bool());
  EXPECT_EQ(refused.at("kind"), "conflict") << refused;
  EXPECT_NE(told("status", state("other")).find(state("one")), std::string::npos)
      << told("status", state("other"));
  EXPECT_EQ(told("undo", state("third")).find("nothing is in force on this host"), std::string::npos);
  EXPECT_TRUE(is_small()) << "the other state folder's is not ours to undo";
  // What a crash leaves blocks nobody.
  ::kill(one.pid(), SIGKILL);
  one.end();
  EXPECT_TRUE(large_within(10s));
  json::object again;
  for (int i = 0; i < 200 && !(again = other.ask(smaller())).at("ok").as_bool(); ++i)
    std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(again.at("ok").as_bool()) << again;
  EXPECT_TRUE(other.must({{"do", "undo_all"}}).at("clean").as_bool());
  EXPECT_FALSE(is_small());
}

class StandsStill : public Restoration {
 protected:
  // As a caller that hears nothing any more; then all is as it was, and nothing is left running.
  void expect_rescue(InjectorProcess& injector, const std::string& session, pid_t guardian) {
    const auto rescued = told("rescue", state(), "--session " + session);
    EXPECT_FALSE(is_small()) << rescued;
    EXPECT_NE(rescued.find("exit 0"), std::string::npos) << rescued;
    injector.end();
    for (int i = 0;
         i < 200 && read_process_stat(guardian).value_or(ProcessStat{.state = 'X'}).ended() == false; ++i)
      std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(read_process_stat(guardian).value_or(ProcessStat{.state = 'X'}).ended());
    EXPECT_TRUE(read_journals(state()).empty());
  }
};

TEST_F(StandsStill, is_undone_another_way_where_injector_and_guardian_are_stopped) {
  InjectorProcess injector{state()};
  const auto session = std::string(injector.must(hello()).at("session").as_string());
  injector.must(smaller());
  const auto guardian = guardian_of(injector.pid());
  ::kill(guardian, SIGSTOP);
  ::kill(injector.pid(), SIGSTOP);
  expect_rescue(injector, session, guardian);
}

TEST_F(StandsStill, is_undone_another_way_where_injector_and_guardian_are_frozen) {
  const std::string freezer = "/sys/fs/cgroup/freezer",
                    group = freezer + "/squall-test-" + std::to_string(::getpid());
  if (!fs::exists(freezer + "/cgroup.procs") || !fs::create_directory(group))
    GTEST_SKIP() << "no freezer of cgroup v1 here";
  InjectorProcess injector{state()};
  const auto session = std::string(injector.must(hello()).at("session").as_string());
  injector.must(smaller());
  const auto guardian = guardian_of(injector.pid());
  for (auto pid : {injector.pid(), guardian})
    std::ofstream{group + "/cgroup.procs"} << pid;
  std::ofstream{group + "/freezer.state"} << "FROZEN";
  for (int i = 0; i < 200 && !suspended(injector.pid()); ++i)
    std::this_thread::sleep_for(10ms);
  ASSERT_TRUE(suspended(injector.pid()));
  expect_rescue(injector, session, guardian);
  std::ofstream{group + "/freezer.state"} << "THAWED";
  for (int i = 0; i < 200 && ::rmdir(group.c_str()) != 0; ++i)
    std::this_thread::sleep_for(20ms);
}

// Killed, a process that is frozen by cgroup v1 dies only when it thaws.
TEST_F(StandsStill, is_undone_by_the_guardian_where_the_injector_alone_is_frozen) {
  const std::string freezer = "/sys/fs/cgroup/freezer",
                    group = freezer + "/squall-alone-" + std::to_string(::getpid());
  if (!fs::exists(freezer + "/cgroup.procs") || !fs::create_directory(group))
    GTEST_SKIP() << "no freezer of cgroup v1 here";
  InjectorProcess injector{state()};
  injector.must(hello());
  injector.must(smaller());
  std::ofstream{group + "/cgroup.procs"} << injector.pid();
  std::ofstream{group + "/freezer.state"} << "FROZEN";
  EXPECT_TRUE(large_within(15s)) << link();
  EXPECT_TRUE(WIFSIGNALED(injector.end()));
  for (int i = 0; i < 200 && ::rmdir(group.c_str()) != 0; ++i)
    std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(fs::exists(group));
}

TEST_F(StandsStill, is_left_alone_where_it_only_is_slow) {
  InjectorProcess injector{state()};
  const auto session = std::string(injector.must(hello()).at("session").as_string());
  injector.must(smaller());
  EXPECT_NE(told("rescue", state(), "--session " + session).find("\"suspended\":false"), std::string::npos);
  EXPECT_TRUE(is_small());
  EXPECT_TRUE(injector.must({{"do", "undo_all"}}).at("clean").as_bool());
}

TEST_F(StandsStill, is_told_in_the_dose_where_it_went_on_by_itself) {
  InjectorProcess injector{state()};
  injector.must(hello());
  injector.must(smaller());
  EXPECT_TRUE(injector.must({{"do", "dose"}, {"step", "smaller"}}).at("dose").at("verified").as_bool());
  const auto guardian = guardian_of(injector.pid());
  ::kill(guardian, SIGSTOP);
  ::kill(injector.pid(), SIGSTOP);
  std::this_thread::sleep_for(3s);  // is what is tested
  ::kill(injector.pid(), SIGCONT);
  const auto noticed = injector.wait_for_event("fault");
  EXPECT_EQ(noticed.at("what"), "fault.unattended") << noticed;
  const auto undone = injector.must({{"do", "undo"}, {"step", "smaller"}});
  EXPECT_FALSE(undone.at("dose").at("verified").as_bool());
  EXPECT_GE(undone.at("dose").at("measured").at("unattended_ms").to_number<int>(), 2500);
  EXPECT_NE(std::string(undone.at("dose").at("reason").as_string()).find("nobody looked"), std::string::npos)
      << undone;
  ::kill(guardian, SIGCONT);
}

// squall itself notices, and says so.
TEST_F(StandsStill, is_noticed_by_squall_within_the_lease) {
  Squall tool;
  tool.start({"inject", "network.mtu", "mtu=1400", "--on", "interface=sqa", "--for", "40s", "--state",
              tool.state().string()});
  for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
    std::this_thread::sleep_for(20ms);
  const auto journals = read_journals(tool.state().string());
  ASSERT_EQ(journals.size(), 1U);
  const auto guardian = guardian_of(journals[0].pid);
  ::kill(guardian, SIGSTOP);
  ::kill(journals[0].pid, SIGSTOP);
  EXPECT_TRUE(large_within(15s)) << "the lease is 10 s, and a machine may be slow";
  EXPECT_NE(tool.wait(), 0) << tool.output();
  EXPECT_NE(tool.output().find("nobody looked after the fault"), std::string::npos) << tool.output();
}

TEST_F(StandsStill, is_in_the_record_of_a_drill_and_passes_nothing) {
  Squall tool;
  tool.start_drill(R"(scenario: stands-still
baseline: {for: 1s}
recovery: {for: 1s}
services:
  far: {probes: [{command: ping -c 1 -W 1 10.99.0.2, every: 500ms, timeout: 2s}]}
method:
  - {name: smaller, fault: network.mtu, on: {interface: sqa}, with: {mtu: 1400}, for: 60s}
expect:
  - {service: far, availability: ">= 1%"}
)");
  ASSERT_TRUE(tool.wait_for_record("fault.dose")) << tool.output();
  const auto journals = read_journals(tool.state().string());
  ASSERT_EQ(journals.size(), 1U);
  ::kill(guardian_of(journals[0].pid), SIGSTOP);
  ::kill(journals[0].pid, SIGSTOP);
  EXPECT_TRUE(large_within(15s));
  EXPECT_NE(tool.wait(), 0) << tool.output();
  EXPECT_NE(tool.record().find("fault.unattended"), std::string::npos) << tool.record();
  const auto report = tool.report();
  const auto& fault = report.at("faults").at(0);
  EXPECT_FALSE(fault.at("dose").at("verified").as_bool()) << fault;
  EXPECT_NE(json::serialize(fault.at("dose")).find("nobody looked"), std::string::npos) << fault;
  EXPECT_NE(json::serialize(report).find("was stopped or frozen"), std::string::npos)
      << "the reason is not told";
}

class Many : public Restoration {
 protected:
  static constexpr int faults = 60;
  void apply_all(InjectorProcess& injector, std::int64_t for_ns) {
    injector.must(hello());
    for (int i = 0; i < faults; ++i) {
      auto request = apply(fmt::format("slow{}", i), "network.delay", "sqa",
                           {{"delay", "20ms"},
                            {"direction", "in"},
                            {"mechanism", "userland"},
                            {"protocol", "tcp"},
                            {"port", 10'000 + i}},
                           for_ns);
      applied.push_back(injector.must(std::move(request)).at("applied_at").to_number<std::int64_t>());
    }
  }
  std::vector<std::int64_t> applied;
};

TEST_F(Many, end_together_and_not_in_turn) {
  InjectorProcess injector{state()};
  constexpr std::int64_t lasts = 8'000'000'000LL;
  apply_all(injector, lasts);
  double latest = 0;
  for (int i = 0; i < faults; ++i) {
    const auto undone = injector.wait_for_event("undone");
    EXPECT_TRUE(undone.at("clean").as_bool()) << undone;
    const auto which = std::stoul(std::string(undone.at("step").as_string()).substr(4));
    latest = std::max(
        latest,
        static_cast<double>(undone.at("undone_at").to_number<std::int64_t>() - applied[which] - lasts) / 1e9);
  }
  // Each of them let the packets of all others pass: twelve seconds on this machine where it is busy.
  EXPECT_LT(latest, 3) << "s";
}

TEST_F(Many, are_undone_by_squall_undo_which_kills_nobody_healthy) {
  InjectorProcess injector{state()};
  apply_all(injector, 120'000'000'000LL);
  EXPECT_NE(told("undo", state()).find("exit 0"), std::string::npos);
  const int status = injector.end();
  EXPECT_TRUE(WIFEXITED(status)) << "it was killed by signal " << WTERMSIG(status);
}

}  // namespace
}  // namespace squall::test
