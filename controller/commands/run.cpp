#include <algorithm>
#include <csignal>
#include <cstdio>

#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>

#include "controller/commands/input.hpp"
#include "controller/commands/reports.hpp"
#include "controller/engine/active_runs.hpp"
#include "controller/engine/drill.hpp"
#include "controller/terminal/interrupts.hpp"
#include "controller/terminal/progress.hpp"

namespace squall {
namespace {

struct Prepared {
  ReadScenario read;
  Plan plan;
  DrillOptions options;
};

// Reads and plans; an exit code where that already ends it.
int prepare(const Arguments& arguments, const std::string& file, Prepared& out) {
  out.read = read_files(file, arguments.landscape);
  if (!out.read.ok) {
    fmt::print(stderr, "{}", out.read.errors);
    return exit_input;
  }
  out.options.runs = arguments.runs;
  out.options.link.state = arguments.state;
  out.options.seed = seed_of(arguments, out.read.scenario);
  out.options.scenario_file = file;
  out.options.scenario_text = out.read.scenario_text;
  out.options.landscape_text = out.read.landscape_text;
  out.options.files = out.read.files;
  Diagnostics wrong{file, out.read.scenario_text};
  out.plan = make_plan(out.read.scenario, out.options.seed, wrong);
  if (wrong.ok()) return exit_pass;
  fmt::print(stderr, "{}", wrong.render());
  return exit_input;
}

boost::asio::awaitable<void> drive(Drill& drill, const Arguments& arguments, const Scenario& scenario,
                                   std::unique_ptr<ActiveRun>& registered,
                                   std::unique_ptr<Progress>& progress) {
  co_await drill.prepare();
  for (auto& text : drill.cannot_start())
    complain(text);
  auto& log = drill.open_log();
  registered = std::make_unique<ActiveRun>(scenario.name, log.folder());
  progress = std::make_unique<Progress>(scenario, log, arguments.json() ? -1 : STDERR_FILENO,
                                        wants_color(arguments, STDERR_FILENO));
  co_await drill.run();
  progress->finish();
}

std::string why_halted(int number) {
  if (number == SIGINT) return "Ctrl-C by the user";
  if (number == SIGHUP) return "the terminal was closed (SIGHUP)";
  const auto who = who_halted_us();
  return who.empty() ? "SIGTERM by the user" : fmt::format("`squall halt` by {}", who);
}

// Whoever started it holds the other end of its standard input: its death ends the drill, however it died.
class Starter {
 public:
  Starter(boost::asio::io_context& io, Drill& drill) : input_(io, ::dup(STDIN_FILENO)), drill_(drill) {
    listen();
  }

 private:
  void listen() {
    input_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](auto error) {
      char ignored[256];
      if (error) return;
      if (::read(input_.native_handle(), ignored, sizeof ignored) > 0) return listen();
      drill_.halt("what started it has gone (its standard input has ended)", "user");
    });
  }
  boost::asio::posix::stream_descriptor input_;
  Drill& drill_;
};

int run_one(const Arguments& arguments, const std::string& file) {
  Prepared prepared;
  if (int code = prepare(arguments, file, prepared); code != exit_pass) return code;
  if (const auto problem = registry_problem(); !problem.empty()) {
    complain(problem);
    return exit_could_not_run;
  }
  boost::asio::io_context io;
  Drill drill{io, prepared.read.scenario, prepared.plan, prepared.options};
  boost::asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  std::function<void()> listen = [&] {
    signals.async_wait([&](auto error, int number) {
      if (error) return;
      drill.halt(why_halted(number), "user");
      listen();
    });
  };
  listen();
  const auto starter = arguments.until_eof ? std::make_unique<Starter>(io, drill) : nullptr;
  std::unique_ptr<ActiveRun> registered;
  std::unique_ptr<Progress> progress;
  std::exception_ptr failed;
  boost::asio::co_spawn(io, drive(drill, arguments, prepared.read.scenario, registered, progress),
                        [&](std::exception_ptr error) {
                          failed = error;
                          ignore_interrupts(signals);
                          io.stop();
                        });
  io.run();
  try {
    if (failed) std::rethrow_exception(failed);
  } catch (const CannotStart& why) {
    fmt::print(stderr, "{}", why.text);
    return why.exit_code;
  } catch (const std::exception& e) {
    complain(e.what());
    return exit_could_not_run;
  }
  const int code = finish_run(drill.log(), arguments);
  const auto again =
      fmt::format("the same hosts and targets again: squall run {} --seed {}\n", file, prepared.options.seed);
  if (!arguments.json()) std::fputs(again.c_str(), stdout);
  return code;
}

// What is worse is what the whole ends with: somebody has to look after a host before all else.
int worse(int one, int other) {
  auto rank = [](int code) {
    constexpr int order[] = {exit_pass,  exit_inconclusive,  exit_fail,        exit_halted,
                             exit_input, exit_could_not_run, exit_not_restored};
    return std::find(std::begin(order), std::end(order), code) - std::begin(order);
  };
  return rank(one) > rank(other) ? one : other;
}

}  // namespace

int run_command(const Arguments& arguments) {
  const auto files = expand_files(arguments.files, false);
  if (!files.error.empty()) {
    complain(files.error);
    return exit_input;
  }
  if (files.paths.size() > 1 && (!arguments.junit.empty() || !arguments.markdown.empty())) {
    complain(
        "--junit and --markdown name one file, and there are several drills: each run's folder has its own");
    return exit_input;
  }
  int code = exit_pass;
  for (auto& file : files.paths) {
    if (files.paths.size() > 1 && !arguments.json()) fmt::print("{}\n", file);
    const int one = run_one(arguments, file);
    code = worse(code, one);
    if (one == exit_halted || one == exit_not_restored) break;  // somebody is to look first
  }
  return code;
}

}  // namespace squall
