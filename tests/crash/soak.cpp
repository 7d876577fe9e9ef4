#include "tests/crash/soak.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "injector/host/netlink/netfilter_sockets.hpp"
#include "injector/system/read_file.hpp"
#include "injector/undo/journal.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/server_process.hpp"

namespace squall::crash {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t cycles_between_looks = 100;
constexpr int most_at_once = 3;

std::int64_t resident_kib(pid_t pid) {
  std::ifstream status{fmt::format("/proc/{}/status", pid)};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

// What each open descriptor is of.
std::vector<std::string> descriptors(pid_t pid) {
  std::vector<std::string> all;
  std::error_code none;
  for (auto& entry : entries(fmt::format("/proc/{}/fd", pid)))
    all.push_back(fmt::format("{} {}", entry.filename().string(), fs::read_symlink(entry, none).string()));
  std::sort(all.begin(), all.end());
  return all;
}

std::size_t threads(pid_t pid) {
  return entries(fmt::format("/proc/{}/task", pid)).size();
}

// Processes of ours on the whole machine, those of this network namespace: the injector, its guardian.
std::size_t injectors(const std::string& state) {
  std::size_t count = 0;
  for (auto& entry : entries("/proc")) {
    const auto command = read_file(entry / "cmdline").value_or("");
    count += command.find("squall-injector") != std::string::npos && command.find(state) != std::string::npos;
  }
  return count;
}

class Soak {
 public:
  Soak(Stage& stage, std::uint64_t seed)
      : stage_(stage), random_(seed), state_((folder_.path() / "state").string()) {}

  int run(std::size_t cycles) {
    start();
    for (std::size_t i = 1; i <= cycles; ++i) {
      cycle();
      if (i % cycles_between_looks == 0 || i == cycles) look(i);
    }
    injector_.reset();
    for (int i = 0; i < 100 && injectors(state_) > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    if (const auto left = injectors(state_)) wrong(fmt::format("{} processes are left", left));
    fmt::print("{} cycles, {} of them ended by SIGKILL, in {} lives of the injector; {} wrong\n", cycles,
               kills_, lives_, wrong_);
    return wrong_;
  }

 private:
  void start() {
    before_ = stage_.look();
    trials_ = stage_.trials();  // its process may be another one by now
    injector_ = std::make_unique<test::InjectorProcess>(state_);
    injector_->must({{"do", "hello"}, {"version", 1}, {"run", "soak"}});
    ++lives_;
    lived_ = 0;
    first_look_ = true;
  }

  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
  }

  void cycle() {
    ++lived_;
    const auto count = 1 + pick(most_at_once);
    std::vector<std::string> applied;
    for (std::size_t n = 0; n < count; ++n) {
      auto& trial = trials_[pick(trials_.size())];
      if (trial.fault == "process.kill" || trial.fault == "process.keep_dead")
        continue;  // would have to be brought back each time: no undo to prove
      const auto step = fmt::format("step {}", n);
      const auto answer = injector_->ask({{"do", "apply"},
                                          {"step", step},
                                          {"fault", trial.fault},
                                          {"with", trial.with},
                                          {"on", trial.on},
                                          {"for_ns", 30'000'000'000},
                                          {"seed", random_() % 1000}});
      if (answer.at("ok").as_bool())
        applied.push_back(step);
      else if (applied.empty() || (answer.at("kind") != "conflict" && answer.at("kind") != "input"))
        // beside others: two that cannot share the host, or its disk
        wrong(json::serialize(answer));
    }
    if (pick(500) == 0) return kill();
    std::shuffle(applied.begin(), applied.end(), random_);
    for (auto& step : applied) {
      const auto undone = injector_->must({{"do", "undo"}, {"step", step}});
      if (!undone.at("clean").as_bool()) wrong(json::serialize(undone));
    }
  }

  void kill() {
    ++kills_;
    ::kill(injector_->pid(), SIGKILL);
    injector_->end();
    injector_.reset();
    const auto until = Clock::now() + std::chrono::seconds{5};
    while (!read_journals(state_).empty() && Clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    compare("after SIGKILL");
    start();
  }

  void look(std::size_t cycle) {
    compare(fmt::format("after {} cycles", cycle));
    const auto pid = injector_->pid();
    std::this_thread::sleep_for(std::chrono::milliseconds{100});  // what is closed later
    const auto open = descriptors(pid);
    const auto running = threads(pid);
    const auto resident = resident_kib(pid);
    // A life that has tried each fault some times has all it needs: what it has then is what later looks are
    // held against.
    if (lived_ < cycles_between_looks) return;
    if (std::exchange(first_look_, false)) {
      open_ = open;
      running_ = running;
      resident_ = resident;
      return;
    }
    if (open.size() > open_.size() + most_netfilter_sockets_kept)
      wrong(fmt::format("after {} cycles these descriptors are open: {}\nat the first look these were: {}",
                        cycle, fmt::join(open, ", "), fmt::join(open_, ", ")));
    if (running > running_)
      wrong(fmt::format("after {} cycles: {} threads, {} at the first look", cycle, running, running_));
    if (resident > resident_ * 3 / 2 + 2048)
      wrong(
          fmt::format("after {} cycles: {} KiB resident, {} at the first look", cycle, resident, resident_));
  }

  void compare(const std::string& when) {
    const auto until = Clock::now() + std::chrono::seconds{1};
    for (;;) {
      const auto left = differences(before_, stage_.look());
      if (left.empty()) return;
      if (Clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
        continue;
      }
      for (auto& text : left)
        wrong(fmt::format("{}: {}", when, text));
      return;
    }
  }

  void wrong(const std::string& what) {
    ++wrong_;
    fmt::print("{}\n", what);
    std::fflush(stdout);
  }

  Stage& stage_;
  std::mt19937_64 random_;
  test::TemporaryDirectory folder_;
  std::string state_;
  std::unique_ptr<test::InjectorProcess> injector_;
  HostState before_;
  std::vector<Trial> trials_;
  bool first_look_ = true;
  std::size_t lived_ = 0;
  std::vector<std::string> open_;
  std::size_t running_ = 0;
  std::int64_t resident_ = 0;
  int wrong_ = 0, kills_ = 0, lives_ = 0;
};

}  // namespace

int soak(Stage& stage, std::size_t cycles, std::uint64_t seed) {
  return Soak{stage, seed}.run(cycles);
}

}  // namespace squall::crash
