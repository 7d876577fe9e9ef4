#include "tests/support/squall_process.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tests/support/paths.hpp"

namespace squall::test {
namespace fs = std::filesystem;
namespace {

bool soon(std::chrono::seconds patience, const auto& holds) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return false;
}

}  // namespace

std::string content(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

Squall::~Squall() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

void Squall::start(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program.empty() ? bin_dir() + "/squall" : program);
  std::vector<char*> argv;
  for (auto& word : arguments)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  for (int stream : {STDOUT_FILENO, STDERR_FILENO})
    ::dup2(::open((folder.path() / "output").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644), stream);
  ::setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
  if (!injector.empty()) ::setenv("SQUALL_INJECTOR", injector.c_str(), 1);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void Squall::start_drill(const std::string& scenario) {
  start({"run", folder.write("drill.yaml", scenario).string(), "--state", state().string(), "--runs",
         runs().string(), "--seed", "7"});
}

int Squall::wait() {
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Squall::run(std::vector<std::string> arguments) {
  start(std::move(arguments));
  return wait();
}

int Squall::drill(const std::string& scenario) {
  start_drill(scenario);
  return wait();
}

void Squall::signal(int number) const {
  ::kill(pid_, number);
}

bool Squall::runs_still() const {
  siginfo_t ended{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == 0;
}

std::string Squall::output() const {
  return content(folder.path() / "output");
}

fs::path Squall::run_folder() const {
  std::error_code missing;
  for (auto& entry : fs::directory_iterator(runs(), missing))
    if (entry.is_directory() && !entry.is_symlink()) return entry.path();
  return {};
}

boost::json::object Squall::report() const {
  return boost::json::parse(content(run_folder() / "report.json")).as_object();
}

std::string Squall::record() const {
  return content(run_folder() / "events.jsonl");
}

bool Squall::wait_for_record(const std::string& text) const {
  bool there = false;
  soon(std::chrono::seconds{30}, [&] {
    there = record().find(text) != std::string::npos;
    return there || !runs_still();
  });
  return there;
}

bool Squall::journals_gone() const {
  return soon(std::chrono::seconds{10}, [&] {
    std::error_code missing;
    return !fs::exists(state() / "journal", missing) || fs::is_empty(state() / "journal", missing);
  });
}

std::string kill_drill(pid_t victim, const std::string& watched, const std::string& signal,
                       const std::string& lasts) {
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

}  // namespace squall::test
