// `squall inject` from its start to its exit code, by the real binaries in a network of the test's own.
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "injector/undo/journal.hpp"
#include "scenarios/schema/times.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

using ::squall::testing::OwnNetwork;
using ::squall::testing::shell;

class Inject : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  std::vector<std::string> words(const std::string& fault, std::vector<std::string> with,
                                 const std::string& on, const std::string& lasts) const {
    std::vector<std::string> out{"inject", fault};
    out.insert(out.end(), with.begin(), with.end());
    for (auto& word : {std::string{"--on"}, on, std::string{"--for"}, lasts, std::string{"--state"},
                       tool.state().string()})
      out.push_back(word);
    return out;
  }

  OwnNetwork network;
  Squall tool;
};

TEST_F(Inject, ends_well_where_a_port_was_occupied) {
  EXPECT_EQ(tool.run(words("network.occupy", {"port=7030"}, "interface=any", "1s")), 0) << tool.output();
}

TEST_F(Inject, ends_well_where_the_ports_ran_out) {
  shell("echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range");
  EXPECT_EQ(tool.run(words("network.exhaust_ports", {}, "interface=any", "1s")), 0) << tool.output();
}

TEST_F(Inject, only_says_what_it_would_do_where_a_plan_is_asked_for) {
  auto command = words("network.occupy", {"port=7030"}, "interface=any", "20s");
  command.emplace_back("--plan");
  EXPECT_EQ(tool.run(command), 0) << tool.output();
  for (auto* told : {"network.occupy on here, for 20s. Nothing is changed",
                     "mechanism  sockets bound to the ports", "do         ", "undo       "})
    EXPECT_NE(tool.output().find(told), std::string::npos) << tool.output();
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path{tool.state()} / "journal"))
      << "a plan needs no journal";
  auto refused = words("network.occupy", {"port=7030"}, "interface=nosuch0", "20s");
  refused.emplace_back("--plan");
  EXPECT_EQ(tool.run(refused), 2) << tool.output();
}

TEST_F(Inject, is_halted_by_who_undoes_it_from_another_terminal) {
  tool.start(words("network.occupy", {"port=7030"}, "interface=any", "20s"));
  for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  shell(bin_dir() + "/squall undo --state " + tool.state().string());
  EXPECT_EQ(tool.wait(), 4) << tool.output();
  for (auto* told : {"undone; the host is as it was", "undone on here by `squall undo`"})
    EXPECT_NE(tool.output().find(told), std::string::npos) << tool.output();
}

TEST_F(Inject, says_who_put_the_host_back_where_its_injector_was_killed) {
  for (const bool guarded : {true, false}) {
    Squall tool;
    auto command = words("network.occupy", {"port=7030"}, "interface=any", "20s");
    command.back() = tool.state();
    tool.start(command);
    for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    const auto journals = read_journals(tool.state().string());
    ASSERT_EQ(journals.size(), 1U);
    pid_t guardian = 0;
    std::ifstream{fmt::format("/proc/{0}/task/{0}/children", journals[0].pid)} >> guardian;
    ASSERT_GT(guardian, 0);
    ::kill(journals[0].pid, SIGSTOP);  // it would start another guardian
    if (!guarded) ::kill(guardian, SIGKILL);
    ::kill(journals[0].pid, SIGKILL);
    EXPECT_EQ(tool.wait(), 5) << tool.output();
    EXPECT_NE(tool.output().find(
                  guarded ? "the host was put back by its guardian"
                          : "the host was put back by squall-injector recover, which squall started"),
              std::string::npos)
        << tool.output();
  }
}

TEST_F(Inject, is_told_by_status_with_its_times) {
  const auto before = rfc3339(wall_ns());
  tool.start(words("network.occupy", {"port=7030"}, "interface=any", "20s"));
  for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  const auto status = boost::json::parse(
      run({bin_dir() + "/squall", "status", "--output", "json", "--state", tool.state().string()}));
  const auto& active = status.at("active").at(0);
  const std::string since{active.at("since").as_string()}, until{active.at("until").as_string()},
      now = rfc3339(wall_ns());
  EXPECT_TRUE(before <= since && since <= now) << status;
  EXPECT_EQ(until.size(), now.size()) << status;
  EXPECT_GT(until, now) << status;
}

TEST_F(Inject, names_the_argument_that_is_wrong) {
  EXPECT_EQ(tool.run(words("network.delay", {"delay=2h", "dealy=1ms"}, "pid=abc", "0s")), 2);
  for (auto* line : {"network.delay: error: delay: expected 0s to 1h, got 2h\n",
                     "network.delay: error: unknown key \"dealy\"; did you mean \"delay\"?\n",
                     "network.delay: error: --on pid: expected a whole number, got \"abc\"\n",
                     "network.delay: error: --for: expected more than 0s\n"})
    EXPECT_NE(tool.output().find(line), std::string::npos) << tool.output();
}

TEST_F(Inject, helps_with_a_fault_and_with_what_stands_in_its_mappings) {
  EXPECT_EQ(tool.run({"help", "network.loss"}), 0) << tool.output();
  EXPECT_NE(tool.output().find("gilbert_elliott.worsens: the chance to go from the good state"),
            std::string::npos)
      << tool.output();
}

TEST_F(Inject, tells_how_to_have_descriptors_for_all_ports) {
  shell("echo 40000 40999 >/proc/sys/net/ipv4/ip_local_port_range");
  std::string command =
      "setpriv --bounding-set=-sys_resource prlimit --nofile=700:700 " + bin_dir() + "/squall";
  for (auto& word : words("network.exhaust_ports", {}, "interface=any", "1s"))
    command += " " + word;
  const auto said = shell(command + " 2>&1; echo exit code $?");
  EXPECT_NE(said.find("1000 ports are to be held"), std::string::npos) << said;
  EXPECT_NE(said.find("raise its hard limit of open files by "), std::string::npos) << said;
  EXPECT_NE(said.find("exit code 2"), std::string::npos) << said;
  EXPECT_EQ(shell("ss -Htan | wc -l"), "0\n");
}

TEST_F(Inject, notes_what_others_changed_meanwhile_and_keeps_its_own_exit_code) {
  tool.start(words("network.occupy", {"port=7030"}, "interface=any", "3s"));
  for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  shell(
      "ip route add 10.70.0.0/16 via 10.99.0.2 && ip link add sqz type veth peer name sqy && nft add table "
      "inet theirs");
  EXPECT_EQ(tool.wait(), 0) << tool.output();
  for (auto* told :
       {"undone; the host is as it was", "meanwhile, by others: route to 10.70.0.0/16",
        "meanwhile, by others: link sqz is new", "meanwhile, by others: nftables table inet theirs is new"})
    EXPECT_NE(tool.output().find(told), std::string::npos) << tool.output();
}

TEST_F(Inject, of_what_is_not_there_could_not_run_and_of_what_cannot_be_is_wrong_input) {
  EXPECT_EQ(tool.run(words("process.kill", {}, "exe=nobody-is-called-so", "1s")), 5) << tool.output();
  EXPECT_EQ(tool.run(words("network.delay", {"delay=1ms"}, "interface=nosuch0", "1s")), 5) << tool.output();
  EXPECT_EQ(tool.run(words("process.kill", {"signal=SIGNOTHING"}, "exe=nobody-is-called-so", "1s")), 2)
      << tool.output();
}

TEST_F(Inject, says_by_its_exit_code_that_what_it_was_aimed_at_is_not_as_it_was) {
  tool.start(words("network.delay", {"delay=1ms", "port=7030"}, "interface=sqa", "3s"));
  for (int i = 0; i < 500 && tool.output().find("Ctrl-C undoes it") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  shell("ip route add 10.70.0.0/16 via 10.99.0.2");  // somebody else's, and nothing that an undo would touch
  EXPECT_EQ(tool.wait(), 6) << tool.output();
  for (auto* told : {"route to 10.70.0.0/16", "every change of Squall's own is undone",
                     "see on here: ip route show table all", "take back by hand what is not wanted"})
    EXPECT_NE(tool.output().find(told), std::string::npos) << tool.output();
}

}  // namespace
}  // namespace squall::test
