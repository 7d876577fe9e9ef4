// Hosts by ssh that are slow, silent or no hosts of ours at all: nobody waits for them without an end, nor
// one after another, and each is named with its own reason. What stands for ssh is a script of the test's
// own.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class FarHosts : public ::testing::Test {
 protected:
  std::string path_before = std::getenv("PATH");
  Squall tool;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    fs::create_directory(tool.folder.path() / "bin");
    ::setenv("PATH", (tool.folder.path() / "bin").string().append(":").append(path_before).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_before.c_str(), 1); }

  // ssh … -- root@NAME squall-injector VERB --state DIR …: `far` is what happens there, with $host its name,
  // and "$@" from the verb on.
  void hosts(const std::vector<std::string>& names, const std::string& far) {
    std::string landscape = "hosts:\n";
    for (auto& name : names)
      landscape += fmt::format("  {}: {{link: ssh, address: root@{}}}\n", name, name);
    tool.folder.write("landscape.yaml", landscape);
    const auto ssh = tool.folder.write(
        "bin/ssh",
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nhost=${2#root@}; shift 3\n" + far + "\n");
    fs::permissions(ssh, fs::perms::owner_all);
  }
  // Each host is a network namespace of its own, with a state of its own.
  std::string injector(const std::string& slowly = "") const {
    return fmt::format(
        "verb=$1; shift 3; {}unshare -n sh -c 'ip link set lo up; exec {}/squall-injector \"$@\"' - $verb "
        "--state {}-$host \"$@\"",
        slowly, bin_dir(), tool.state().string());
  }
  std::string landscape() const { return (tool.folder.path() / "landscape.yaml").string(); }
  std::string drill(const std::string& lasts = "2s") {
    return tool.folder
        .write("drill.yaml",
               fmt::format("scenario: far\ntitle: Far hosts are slowed\nsquad: web\nblast_radius: {{hosts: "
                           "9}}\nbaseline: {{for: 500ms}}\nrecovery: {{for: 500ms}}\n"
                           "services:\n  web: {{probes: [{{command: \"true\", every: 100ms}}]}}\n"
                           "method:\n  - {{name: slow, fault: network.delay, on: {{interface: lo}}, with: "
                           "{{delay: 20ms}}, for: {}}}\n"
                           "expect:\n  - {{service: web, availability: \">= 1%\"}}\n",
                           lasts))
        .string();
  }
  std::vector<std::string> run_words(const std::string& lasts = "2s") {
    return {"run",    drill(lasts),         "--state",     tool.state().string(),
            "--runs", tool.runs().string(), "--landscape", landscape()};
  }
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
};

TEST_F(FarHosts, that_cannot_be_reached_are_all_named_with_their_reasons_and_there_is_a_report) {
  hosts({"h1", "h2", "h3", "h4", "h5"},
        "sleep 3; echo \"first words of $host\" >&2; echo \"no route to $host\" >&2; exit 255");
  const auto start = Clock::now();
  EXPECT_EQ(tool.run(run_words()), 5) << tool.output();
  EXPECT_LT(seconds_since(start), 13) << "one after another is 15 s";
  for (int i = 1; i <= 5; ++i) {
    const auto told = fmt::format(
        "reach the host h{0}: the injector on h{0} ended with exit code 255 before it spoke: first words of "
        "h{0}; no route to h{0}",
        i);
    EXPECT_NE(tool.output().find(told), std::string::npos) << told << " in " << tool.output();
  }
  EXPECT_EQ(tool.report().at("verdict").as_string(), "error");
  EXPECT_NE(content(tool.run_folder() / "junit.xml").find("no route to h5"), std::string::npos);
  EXPECT_EQ(tool.run({"plan", drill(), "--landscape", landscape()}), 5);
}

TEST_F(FarHosts, that_never_speak_do_not_make_anybody_deaf_to_signals) {
  hosts({"h1", "h2"}, "printf hi; exec sleep 600");
  for (auto* command : {"plan", "run", "status"}) {
    auto words = run_words();
    if (std::string_view(command) != "run")
      words = {command, "--state", tool.state().string(), "--landscape", landscape()};
    if (std::string_view(command) == "plan") words.push_back(drill());
    tool.start(words);
    std::this_thread::sleep_for(std::chrono::seconds{2});  // it waits by now, or it did not wait at all
    ASSERT_TRUE(tool.runs_still()) << tool.output();
    const auto start = Clock::now();
    tool.signal(SIGTERM);
    EXPECT_EQ(tool.wait(), 4) << command << ": " << tool.output();
    EXPECT_LT(seconds_since(start), 10) << command;
  }
}

TEST_F(FarHosts, of_a_landscape_are_asked_by_status_all_at_once_and_told_apart) {
  hosts({"h1", "h2", "h3", "h4"},
        "sleep 2; case $host in h2) echo 'No route to host' >&2; exit 255;; h3) echo 'you may not'; exit 0;; "
        "esac\n" +
            injector());
  const auto start = Clock::now();
  EXPECT_EQ(tool.run({"status", "--landscape", landscape()}), 5) << tool.output();
  EXPECT_LT(seconds_since(start), 7.5) << "one after another is 8 s";
  for (auto* told :
       {"h1\n  nothing is in force on h1\n", "h2\n  could not be asked: No route to host\n",
        "h3\n  could not be asked: what answered there is no injector; it printed \"you may not\"\n"})
    EXPECT_NE(tool.output().find(told), std::string::npos) << told << " in " << tool.output();
  EXPECT_EQ(tool.run({"undo", "--host", "h1", "--landscape", landscape()}), 0) << tool.output();
}

// Every request takes 400 ms to get there.
TEST_F(FarHosts, get_a_fault_at_once_however_long_each_takes_to_answer) {
  hosts({"h1", "h2", "h3", "h4", "h5"},
        injector("while read -r line; do sleep 0.4; printf '%s\\n' \"$line\"; done | "));
  const int code = tool.run(run_words("6s"));
  EXPECT_TRUE(code == 3 || code == 0) << tool.output();  // nothing is sent there, so no dose can be verified
  const auto faults = tool.report().at("faults").as_array();
  ASSERT_EQ(faults.size(), 5u) << tool.output();
  for (auto& fault : faults)
    EXPECT_LT(fault.at("dose").at("measured").at("began_apart_ns").to_number<double>(), 1.2e9)
        << "one after another is 1.6 s";
}

TEST_F(FarHosts, that_were_lost_are_not_said_to_be_put_back_by_anybody) {
  hosts({"h1"}, fmt::format("[ -e {0}/gone ] && {{ echo 'No route to host' >&2; exit 255; }}\n",
                            tool.folder.path().string()) +
                    injector("echo $$ > " + (tool.folder.path() / "pid").string() + "; exec "));
  tool.start(run_words("60s"));
  ASSERT_TRUE(tool.wait_for_record("fault.applied")) << tool.output();
  tool.folder.write("gone", "");
  ::kill(std::atoi(content(tool.folder.path() / "pid").c_str()), SIGKILL);
  EXPECT_EQ(tool.wait(), 6) << tool.output();
  EXPECT_EQ(tool.record().find("carried out its journal"), std::string::npos) << tool.record();
  EXPECT_NE(tool.record().find("could not be asked what became of it: No route to host"), std::string::npos)
      << tool.record();
}

}  // namespace
}  // namespace squall::test
