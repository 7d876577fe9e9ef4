// `squall serve`: the daemon.
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "controller/commands/input.hpp"
#include "controller/serve/daemon.hpp"
#include "controller/serve/rights/secret.hpp"

namespace squall {
namespace {

int print_token() {
  const auto token = serve::new_token();
  fmt::print("token    {}\nin people.yaml, at its owner's tokens:  sha256:{}\n", token,
             serve::sha256_hex(token));
  return exit_pass;
}

// One handler that fails is told, and the others go on.
void run_on(boost::asio::io_context& io) {
  while (!io.stopped())
    try {
      io.run();
    } catch (const std::exception& e) {
      spdlog::error("{}", e.what());
    }
}

}  // namespace

int serve_command(const Arguments& arguments) {
  if (arguments.new_token) return print_token();
  std::error_code missing;
  if (arguments.drills.empty() || !std::filesystem::is_directory(arguments.drills, missing)) {
    complain(arguments.drills.empty() ? "--drills DIR: which folder has the drills?"
                                      : fmt::format("--drills: \"{}\" is not a folder", arguments.drills));
    return exit_input;
  }
  serve::DaemonOptions options;
  options.drills = std::filesystem::absolute(arguments.drills).string();
  options.listen = arguments.serve_at;
  options.state = arguments.state;
  options.records = arguments.state + "/serve/runs";
  options.store = arguments.state + "/serve/store.sqlite";
  options.allow_commands = arguments.allow_commands;
  options.names.insert(arguments.names.begin(), arguments.names.end());
  if (!arguments.store.empty()) {
    if (!arguments.store.starts_with("sqlite:")) {
      complain(fmt::format("--store: expected sqlite:PATH, got \"{}\"", arguments.store));
      return exit_input;
    }
    options.store = arguments.store.substr(7);
  }
  boost::asio::io_context io;
  serve::Daemon daemon{io, options};
  boost::asio::signal_set signals{io, SIGINT, SIGTERM};
  signals.async_wait([&](auto error, int) {
    if (!error) daemon.stop([&] { io.stop(); });
  });
  const auto address = options.listen.substr(0, options.listen.rfind(':'));
  fmt::print("squall serves {} on http://{}:{}; Ctrl-C halts every drill and ends it\n", options.drills,
             address, daemon.port());
  std::fflush(stdout);
  run_on(io);
  return exit_pass;
}

}  // namespace squall
