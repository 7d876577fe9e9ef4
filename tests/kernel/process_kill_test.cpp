// process.kill by the real injector: who comes instead of whom and when, processes without their first
// thread, and what systemd makes of it. systemd's answers are a fixture: systemctl is a script here.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/kernel/own_disk.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/sleeper.hpp"

namespace squall {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::InjectorProcess;
using test::Sleeper;
using test::WithoutFirstThread;

constexpr std::int64_t second = 1'000'000'000;

// A shell that runs a script until it goes out of scope, with all that it started.
class Shell {
 public:
  explicit Shell(const std::string& script) : pid_(::fork()) {
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
      ::_exit(127);
    }
    ::setpgid(pid_, pid_);
  }
  ~Shell() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Shell(const Shell&) = delete;

 private:
  pid_t pid_;
};

class KillOnHost : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    fs::copy_file("/bin/sleep", folder.path() / "sqworker");
  }
  InjectorProcess& injector() {
    started.emplace((folder.path() / "state").string());
    started->must({{"do", "hello"}, {"version", 1}, {"run", "kill"}});
    return *started;
  }
  static json::object kill(const json::object& on, const json::object& with, std::int64_t for_ns,
                           const char* verb = "apply") {
    return {{"do", verb},       {"step", "kill"}, {"fault", "process.kill"}, {"on", on}, {"with", with},
            {"for_ns", for_ns}, {"seed", 1}};
  }
  // A supervisor that waits so long before it starts its worker again.
  std::string supervised(const std::string& pause) const {
    return fmt::format("while :; do {}/sqworker 3612; {}; done", folder.path().string(), pause);
  }
  void wait_for_a_worker(InjectorProcess& by) const {
    for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(10ms))
      if (!by.must({{"do", "resolve"}, {"on", {{"exe", "sqworker"}}}}).at("processes").as_array().empty())
        return;
    FAIL() << "no worker";
  }
  static json::object next(InjectorProcess& by, const char* what) {
    return by.wait_for([&](auto& said) { return said.contains("what") && said.at("what") == what; });
  }

  test::TemporaryDirectory folder;
  std::optional<InjectorProcess> started;
};

// Each victim but the first is a successor itself.
TEST_F(KillOnHost, again_and_again_pairs_each_victim_with_who_came_instead) {
  auto& by = injector();
  const Shell supervisor{supervised("sleep 0.3")};
  wait_for_a_worker(by);
  by.must(kill({{"exe", "sqworker"}}, {{"every", "1s"}}, 60 * second));
  for (int i = 0; i < 4; ++i) {
    const auto died = next(by, "process.died"), returned = next(by, "process.returned");
    EXPECT_EQ(returned.at("instead_of"), died.at("pid")) << returned;
    const auto after = returned.at("after_ms").to_number<double>();
    EXPECT_GT(after, 250);  // a death is seen a moment late where processors are busy
    EXPECT_LT(after, 900) << "longer than until the next one is killed";
  }
  const auto measured = by.must({{"do", "undo"}, {"step", "kill"}}).at("dose").at("measured").as_object();
  EXPECT_LT(measured.at("returned_after_ms").to_number<double>(), 900) << measured;
}

// By the kernel's own word: a look each 100 ms would say 100 ms.
TEST_F(KillOnHost, measures_a_return_at_once_as_one) {
  auto& by = injector();
  const Shell supervisor{supervised(":")};
  wait_for_a_worker(by);
  by.must(kill({{"exe", "sqworker"}}, {{"every", "500ms"}}, 60 * second));
  std::vector<double> after;
  for (int i = 0; i < 5; ++i) {
    const auto returned = next(by, "process.returned");
    after.push_back(returned.at("after_ms").to_number<double>());
    // In a pid namespace of its own nobody hears the kernel, and a bound is all there is.
    if (returned.contains("within_ms"))
      EXPECT_GE(after.back(), returned.at("within_ms").to_number<double>()) << returned;
  }
  by.must({{"do", "undo"}, {"step", "kill"}});
  EXPECT_LT(*std::min_element(after.begin(), after.end()), 50);
}

TEST_F(KillOnHost, of_all_kills_those_whose_first_thread_has_ended_too) {
  if (auto hierarchy = cgroup::io_hierarchy(); !hierarchy) GTEST_SKIP() << hierarchy.error();
  const testing::OwnCgroup group{"k"};
  WithoutFirstThread odd{group.group().folder};
  Sleeper plain{{.executable = (folder.path() / "sqworker").string(), .cgroup_folder = group.group().folder}};
  auto& by = injector();
  const auto resolved = by.must({{"do", "resolve"}, {"on", {{"pid", odd.pid()}}}}).at("processes").as_array();
  ASSERT_EQ(resolved.size(), 1U);
  EXPECT_NE(resolved.front().at("exe"), "");
  EXPECT_NE(resolved.front().at("command"), "");
  by.must(kill({{"cgroup", group.group().path}}, {{"count", "all"}}, 60 * second));
  for (int i = 0; i < 500 && (odd.alive() || plain.alive()); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(odd.alive());
  EXPECT_FALSE(plain.alive());
  const auto dose = by.must({{"do", "undo"}, {"step", "kill"}}).at("dose").as_object();
  EXPECT_EQ(dose.at("measured").at("died"), 2) << dose;
  EXPECT_TRUE(dose.at("verified").as_bool()) << dose;
}

TEST_F(KillOnHost, foresees_and_tells_that_systemd_gives_a_unit_up) {
  const testing::OwnGroup group{"web.service"};
  const auto unit = fs::path(group.folder).filename().string();
  const auto script =
      folder.write("systemctl", "#!/bin/sh\nexec cat " + (folder.path() / "shown").string() + "\n");
  fs::permissions(script, fs::perms::owner_all);
  const auto says = [&](const char* active, const char* result) {
    folder.write("shown", fmt::format("Restart=always\nRestartUSec=100ms\nResult={}\nActiveState={}"
                                      "\nStartLimitIntervalUSec=10s\nStartLimitBurst=5\n",
                                      result, active));
  };
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (folder.path().string() + ":" + path).c_str(), 1);
  auto& by = injector();
  ::setenv("PATH", path.c_str(), 1);
  says("active", "success");
  const Sleeper victim{{.executable = (folder.path() / "sqworker").string(), .cgroup_folder = group.folder}};
  const auto plan = json::serialize(
      by.must(kill({{"pid", victim.pid()}}, {{"every", "1s"}}, 8 * second, "plan")).at("limits"));
  EXPECT_NE(plan.find("no more than 5 times in 10s"), std::string::npos) << plan;
  EXPECT_NE(plan.find("systemctl reset-failed " + unit), std::string::npos) << plan;
  by.must(kill({{"pid", victim.pid()}}, {{"every", "1s"}}, 60 * second));
  says("failed", "signal");
  const auto undone = by.must({{"do", "undo"}, {"step", "kill"}});
  EXPECT_FALSE(undone.at("clean").as_bool()) << undone;
  EXPECT_NE(json::serialize(undone.at("left")).find("systemctl reset-failed " + unit), std::string::npos)
      << undone;
  // Somebody did what it says.
  says("active", "success");
  EXPECT_TRUE(by.must({{"do", "bye"}}).at("clean").as_bool());
}

}  // namespace
}  // namespace squall
