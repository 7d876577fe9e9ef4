#include <csignal>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "injector/host/process.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/servers.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string content(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// `squall` with its own state and runs folder, its output in files.
class Squall {
 public:
  int run(std::vector<std::string> arguments) {
    start(std::move(arguments));
    return wait();
  }

  void start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), bin_dir() + "/squall");
    std::vector<char*> argv;
    for (auto& word : arguments) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    for (int stream : {STDOUT_FILENO, STDERR_FILENO})
      ::dup2(::open((folder.path() / "output").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644), stream);
    ::setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  void start_drill(const std::string& scenario) {
    start({"run", folder.write("drill.yaml", scenario).string(), "--state", state().string(), "--runs", runs().string(), "--seed", "7"});
  }
  int drill(const std::string& scenario) {
    start_drill(scenario);
    return wait();
  }

  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void signal(int number) { ::kill(pid_, number); }
  ~Squall() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  fs::path state() const { return folder.path() / "state"; }
  fs::path runs() const { return folder.path() / "runs"; }
  std::string output() const { return content(folder.path() / "output"); }
  fs::path run_folder() const {
    for (auto& entry : fs::directory_iterator(runs())) return entry.path();
    return {};
  }
  json::object report() const { return json::parse(content(run_folder() / "report.json")).as_object(); }
  std::string record() const {
    std::error_code missing;
    return fs::exists(runs(), missing) ? content(run_folder() / "events.jsonl") : "";
  }
  bool wait_for_record(const std::string& text) {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (std::chrono::steady_clock::now() < patience) {
      if (record().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    return false;
  }
  bool journals_gone() const {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    std::error_code missing;
    while (std::chrono::steady_clock::now() < patience) {
      if (!fs::exists(state() / "journal", missing) || fs::is_empty(state() / "journal", missing)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    return false;
  }

  TemporaryDirectory folder;

 private:
  pid_t pid_ = -1;
};

// A drill that signals one process, and watches a service over HTTP.
std::string scenario(pid_t victim, const std::string& watched, const std::string& signal = "SIGKILL", const std::string& lasts = "1500ms") {
  return fmt::format(R"(scenario: server-killed
title: A server is killed
squad: web
hypothesis: users do not notice
baseline: {{for: 1s}}
recovery: {{for: 1s}}
squads: {{web: {{}}}}
services:
  web:
    squad: web
    probes:
      - {{http: "http://{}/", every: 50ms, timeout: 2s}}
    slo: {{availability: 90%}}
method:
  - name: kill
    fault: process.kill
    on: {{pid: {}}}
    with: {{signal: {}}}
    for: {}
expect:
  - {{service: web, availability: ">= 70%"}}
)",
                     watched, victim, signal, lasts);
}

class ProcessKillDrill : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  Server edge = start_nginx("location / { return 200 ok; }");
  Server other = start_nginx("location / { return 200 ok; }");
  Squall squall;
};

TEST_F(ProcessKillDrill, passes_where_users_do_not_notice) {
  ASSERT_EQ(squall.drill(scenario(edge.process->pid(), other.address())), 0) << squall.output();
  const auto report = squall.report();
  EXPECT_EQ(report.at("verdict").as_string(), "pass");
  EXPECT_EQ(report.at("seed").to_number<int>(), 7);
  const auto& dose = report.at("faults").at(0).at("dose");
  EXPECT_TRUE(dose.at("verified").as_bool());
  EXPECT_EQ(dose.at("measured").at("died").to_number<int>(), 1);
  EXPECT_TRUE(report.at("restored").at("clean").as_bool());
  EXPECT_TRUE(squall.journals_gone());
  for (auto* file : {"report.html", "report.md", "junit.xml"}) EXPECT_FALSE(content(squall.run_folder() / file).empty()) << file;
}

TEST_F(ProcessKillDrill, fails_where_users_do_notice) {
  EXPECT_EQ(squall.drill(scenario(edge.process->pid(), edge.address())), 1) << squall.output();
  EXPECT_EQ(squall.report().at("expectations").at(0).at("verdict").as_string(), "violated");
}

TEST_F(ProcessKillDrill, is_inconclusive_where_the_signal_kills_nobody) {
  // nginx reads its configuration again on SIGHUP, and lives on.
  EXPECT_EQ(squall.drill(scenario(edge.process->pid(), other.address(), "SIGHUP")), 3) << squall.output();
  const auto report = squall.report();
  EXPECT_EQ(report.at("verdict").as_string(), "inconclusive");
  EXPECT_FALSE(report.at("faults").at(0).at("dose").at("verified").as_bool());
}

TEST_F(ProcessKillDrill, does_not_start_where_the_steady_state_does_not_hold) {
  EXPECT_EQ(squall.drill(scenario(edge.process->pid(), fmt::format("127.0.0.1:{}", free_port()))), 5) << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port())) << "nothing may be killed";
}

TEST_F(ProcessKillDrill, wrong_input_changes_nothing) {
  EXPECT_EQ(squall.drill(scenario(edge.process->pid(), other.address(), "SIGKLL")), 2);
  EXPECT_NE(squall.output().find("did you mean \"SIGKILL\"?"), std::string::npos) << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port()));
  std::error_code missing;
  EXPECT_FALSE(fs::exists(squall.runs(), missing));
}

TEST_F(ProcessKillDrill, a_signal_undoes_first_and_reports_after) {
  squall.start_drill(scenario(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  squall.signal(SIGTERM);
  EXPECT_EQ(squall.wait(), 4) << squall.output();
  EXPECT_EQ(squall.report().at("verdict").as_string(), "halted");
  EXPECT_TRUE(squall.journals_gone());
}

TEST_F(ProcessKillDrill, halt_stops_it_from_another_terminal) {
  squall.start_drill(scenario(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", squall.folder.path().c_str(), 1), 0);
  EXPECT_NO_THROW(run({bin_dir() + "/squall", "halt"}));
  EXPECT_EQ(squall.wait(), 4) << squall.output();
}

TEST_F(ProcessKillDrill, a_killed_squall_leaves_a_record_and_no_journal) {
  squall.start_drill(scenario(edge.process->pid(), other.address(), "SIGKILL", "60s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  squall.signal(SIGKILL);
  squall.wait();
  EXPECT_TRUE(squall.journals_gone());
  EXPECT_NO_THROW(run({bin_dir() + "/squall", "report", squall.run_folder().string(), "--format", "json"}));
}

TEST_F(ProcessKillDrill, a_plan_tells_what_cannot_be_undone) {
  const auto file = squall.folder.write("drill.yaml", scenario(edge.process->pid(), other.address())).string();
  EXPECT_EQ(squall.run({"plan", file, "--state", squall.state().string()}), 0);
  EXPECT_NE(squall.output().find("does not come back by itself"), std::string::npos) << squall.output();
  EXPECT_TRUE(port_answers(edge.process->port()));
}

}  // namespace
}  // namespace squall::test
