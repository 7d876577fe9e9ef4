// squall-crash: kills the injector, its guardian or both right before every step of every fault's life, and
// looks whether the host is as it was. A new fault is covered by its examples. scripts/crash runs it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <random>
#include <thread>

#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "injector/faults/fault.hpp"
#include "injector/system/read_file.hpp"
#include "tests/crash/soak.hpp"
#include "tests/crash/stage.hpp"
#include "tests/crash/traced_life.hpp"
#include "tests/support/paths.hpp"

namespace squall::crash {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

struct Totals {
  std::size_t points = 0, differences = 0;
  std::vector<double> undone_after_ms;
};

class Enumeration {
 public:
  Enumeration(Stage& stage, Trial trial)
      : stage_(stage), trial_(std::move(trial)), state_((folder_.path() / "state").string()) {}

  // The life that nobody cuts short tells how many steps there are.
  bool measure() {
    whole_ = try_one({});
    return whole_.trouble.empty() && whole_.injector_steps > 0 && whole_.guardian_steps > 0;
  }
  const std::vector<std::string>& wrong() const { return wrong_; }
  const Life& whole() const { return whole_; }
  const std::string& trouble() const { return whole_.trouble; }

  // Every step of the injector, of its guardian, of both in turn, and of the recovery after that; and a
  // caller that hangs up after every request.
  std::vector<KillPoint> points() {
    // What a guardian does after a death, seen once where most is in force.
    const auto after_death = std::max(1U, try_one({whole_.injector_steps * 2 / 3}).guardian_steps);
    std::vector<KillPoint> out;
    for (unsigned n = 1; n <= whole_.injector_steps; ++n) {
      out.push_back({n});
      for (unsigned turn : {0U, after_death / 2})
        out.push_back({n, 1 + (n + turn) % after_death});
      out.push_back({n, 1 + n % 4, 1 + n % recovery_steps});
    }
    for (unsigned n = 1; n <= whole_.guardian_steps; ++n)
      out.push_back({0, n});
    for (unsigned n = 1; n <= requests().size(); ++n)
      out.push_back({0, 0, 0, n});
    return out;
  }

  // What differs afterwards; empty where the host is as it was.
  std::vector<std::string> kill(const KillPoint& at, Totals& totals) {
    ++totals.points;
    const auto life = try_one(at);
    auto wrong = wrong_;
    if (!life.trouble.empty() && !life.injector_killed) wrong.push_back(life.trouble);
    if (life.injector_killed && !life.guardian_killed) totals.undone_after_ms.push_back(life.undone_after_ms);
    totals.differences += wrong.size();
    return wrong;
  }

 private:
  static constexpr unsigned recovery_steps = 20;

  std::vector<json::object> requests() const {
    std::vector<json::object> out{
        {{"do", "hello"}, {"version", 1}},
        {{"do", "apply"},
         {"step", "it"},
         {"fault", trial_.fault},
         {"with", trial_.with},
         {"on", trial_.on},
         {"for_ns", 30'000'000'000},
         {"seed", 1}},
        {{"do", "dose"}, {"step", "it"}},
        {{"do", "undo"}, {"step", "it"}},
        {{"do", "bye"}},
    };
    // Until some have come.
    if (stage_.visited()) out.insert(out.begin() + 2, json::object{{"wait_ms", 60}});
    return out;
  }

  Life try_one(const KillPoint& at) {
    const auto before = stage_.look();
    auto trial = stage_.trials();
    // Its process may be another one by now.
    for (auto& one : trial)
      if (one.fault == trial_.fault && one.example == trial_.example) trial_ = one;
    const auto injector = test::bin_dir() + "/squall-injector";
    auto life = live({injector, "stdio", "--state", state_}, requests(), at);
    wrong_.clear();
    if (life.guardian_killed && life.injector_killed) {
      const std::vector<std::string> recover{injector, "recover", "--state", state_};
      if (at.recovery) live(recover, {}, {at.recovery});
      test::run(recover);
    }
    // What it cost, packets that it held, waits for whoever asks: told once.
    const auto left = entries(state_ + "/journal");
    if (std::any_of(left.begin(), left.end(), [](auto& file) { return file.extension() == ".costs"; }))
      test::run({injector, "recover", "--state", state_});
    for (auto& file : entries(state_ + "/journal"))
      wrong_.push_back("a journal is left: " + file.filename().string());
    compare(before);
    std::filesystem::remove_all(state_);
    return life;
  }

  // What goes with its process may take the kernel a moment more.
  void compare(const HostState& before) {
    const auto until = Clock::now() + std::chrono::seconds{1};
    for (;;) {
      const auto left = differences(before, stage_.look());
      if (left.empty()) return;
      if (Clock::now() > until) {
        wrong_.insert(wrong_.end(), left.begin(), left.end());
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
  }

  Stage& stage_;
  Trial trial_;
  test::TemporaryDirectory folder_;
  std::string state_;
  Life whole_;
  std::vector<std::string> wrong_;
};

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

bool possible_here(const Trial& trial) {
  const auto options = find_fault(trial.fault)->doctor();
  return std::any_of(options.begin(), options.end(), [](auto& one) { return one.possible; });
}

// Whether the doctor is right about a fault here, by trying it: what it says possible comes into force and
// goes again, what it says impossible is refused and changes nothing.
bool doctor_is_right(Stage& stage, const Trial& trial, const std::string& name) {
  const bool possible = possible_here(trial);
  Enumeration enumeration{stage, trial};
  const bool works = enumeration.measure() && enumeration.wrong().empty();
  fmt::print("{}: the doctor says {}, trying it says {}{}{}\n", name, possible ? "possible" : "impossible",
             works ? "it works" : "it does not work", enumeration.trouble().empty() ? "" : ": ",
             enumeration.trouble());
  return possible == works;
}

struct Options {
  std::string only, at;
  bool doctor = false, visited = false;
  std::size_t cycles = 0;
  std::size_t sample = 0;
  std::uint64_t seed = 0;
};

KillPoint parse_point(const std::string& text) {
  KillPoint out;
  if (std::sscanf(text.c_str(), "%u:%u:%u:%u", &out.injector, &out.guardian, &out.recovery, &out.hang_up) !=
      4)
    throw std::runtime_error("expected --at INJECTOR:GUARDIAN:RECOVERY:REQUESTS");
  return out;
}

int enumerate(const Options& options) {
  Stage stage{options.visited};
  if (options.cycles) return soak(stage, options.cycles, options.seed) ? 1 : 0;
  Totals totals;
  std::size_t trial_number = 0;
  const auto trials = stage.trials();
  const auto wanted = [&](const Trial& trial) { return options.only.empty() || trial.fault == options.only; };
  const auto count = static_cast<std::size_t>(std::count_if(trials.begin(), trials.end(), wanted));
  if (count == 0) throw std::runtime_error(fmt::format("there is no fault {}", options.only));
  for (auto& trial : trials) {
    ++trial_number;
    if (!wanted(trial)) continue;
    const auto name = fmt::format("{} {}", trial.fault, trial.example);
    if (options.doctor) {
      ++totals.points;
      if (!doctor_is_right(stage, trial, name)) ++totals.differences;
      continue;
    }
    Enumeration enumeration{stage, trial};
    if (!possible_here(trial)) {
      fmt::print("{}: cannot be tried: the doctor says that this kernel lacks it\n", name);
      continue;
    }
    if (!enumeration.measure()) {
      fmt::print("{}: cannot be tried: {}\n", name, enumeration.trouble());
      ++totals.differences;
      continue;
    }
    auto points = enumeration.points();
    if (!options.at.empty()) points = {parse_point(options.at)};
    if (options.sample) {
      std::mt19937_64 random{options.seed * 1000 + trial_number};
      std::shuffle(points.begin(), points.end(), random);
      points.resize(std::min(points.size(), std::max<std::size_t>(1, options.sample / count)));
    }
    const auto before = totals;
    for (auto& point : points)
      for (auto& text : enumeration.kill(point, totals))
        fmt::print("{} --at {}: {}\n", name, point.to_string(), text);
    const std::vector<double> times(
        totals.undone_after_ms.begin() + static_cast<std::ptrdiff_t>(before.undone_after_ms.size()),
        totals.undone_after_ms.end());
    fmt::print(
        "{}: {} and {} steps, {} kill points, {} differences; over {:.0f} ms after the kill (median), {:.0f} "
        "ms (longest)\n",
        name, enumeration.whole().injector_steps, enumeration.whole().guardian_steps,
        totals.points - before.points, totals.differences - before.differences, quantile(times, 0.5),
        quantile(times, 1));
    std::fflush(stdout);
  }
  fmt::print("{} {}, {} differences\n", totals.points, options.doctor ? "trials" : "kill points",
             totals.differences);
  return totals.differences ? 1 : 0;
}

}  // namespace
}  // namespace squall::crash

int main(int argc, char** argv) {
  CLI::App app{"Kills at every step of every fault and looks whether the host is as it was."};
  squall::crash::Options options;
  app.add_option("--fault", options.only, "this fault alone");
  app.add_option("--sample", options.sample, "so many kill points in all (0: every one)");
  app.add_option("--seed", options.seed, "which of them");
  app.add_flag("--doctor", options.doctor,
               "kill nobody: try whether the doctor is right about every fault here");
  app.add_option("--cycles", options.cycles,
                 "instead: so many random applies and undos, some ended by SIGKILL");
  app.add_flag("--visited", options.visited,
               "connections come in all the while, so that faults have them in hand; a point is another step "
               "each time then");
  app.add_option("--at", options.at, "one kill point, as a difference names it");
  CLI11_PARSE(app, argc, argv);
  if (::geteuid() != 0) {
    fmt::print("squall-crash: needs root\n");
    return 77;
  }
  try {
    return squall::crash::enumerate(options);
  } catch (const std::exception& e) {
    fmt::print("squall-crash: {}\n", e.what());
    return 2;
  }
}
