#include <csignal>
#include <cstdio>
#include <random>

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include "controller/commands/input.hpp"
#include "controller/commands/reports.hpp"
#include "controller/engine/active_runs.hpp"
#include "controller/engine/drill.hpp"
#include "controller/terminal/interrupts.hpp"
#include "controller/terminal/progress.hpp"

namespace squall {
namespace {

std::uint64_t fresh_seed() { return std::random_device{}() & 0x7fffffff; }

struct Prepared {
  ReadScenario read;
  Plan plan;
  DrillOptions options;
};

// Reads and plans; an exit code where that already ends it.
int prepare(const Arguments& arguments, Prepared& out) {
  const auto& file = arguments.files.at(0);
  out.read = read_files(file, arguments.landscape);
  if (!out.read.ok) {
    fmt::print(stderr, "{}", out.read.errors);
    return exit_input;
  }
  out.options.runs = arguments.runs;
  out.options.link.state = arguments.state;
  out.options.seed = arguments.seed ? *arguments.seed : out.read.scenario.seed.value_or(fresh_seed());
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
                                   std::unique_ptr<ActiveRun>& registered, std::unique_ptr<Progress>& progress) {
  co_await drill.prepare();
  auto& log = drill.open_log();
  registered = std::make_unique<ActiveRun>(scenario.name, log.folder());
  progress = std::make_unique<Progress>(scenario, log, arguments.json() ? -1 : STDERR_FILENO,
                                        wants_color(arguments, STDERR_FILENO));
  co_await drill.run();
  progress->finish();
}

}  // namespace

int run_command(const Arguments& arguments) {
  Prepared prepared;
  if (int code = prepare(arguments, prepared); code != exit_pass) return code;
  boost::asio::io_context io;
  Drill drill{io, prepared.read.scenario, prepared.plan, prepared.options};
  boost::asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  std::function<void()> listen = [&] {
    signals.async_wait([&](auto error, int number) {
      if (error) return;
      drill.halt(fmt::format("{} by the user", number == SIGINT ? "Ctrl-C" : number == SIGTERM ? "SIGTERM" : "SIGHUP"), "user");
      listen();
    });
  };
  listen();
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
    if (why.with_places) fmt::print(stderr, "{}", why.text);
    else complain(why.text);
    return why.exit_code;
  } catch (const std::exception& e) {
    complain(e.what());
    return exit_could_not_run;
  }
  return finish_run(drill.log(), arguments);
}

}  // namespace squall
