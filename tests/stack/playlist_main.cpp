// squall-playlist serve | load: the demo stack's playlist service, and the listeners who keep it busy.
#include <csignal>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>

#include "tests/stack/service.hpp"

namespace asio = boost::asio;
using namespace squall::stack;

int main(int argc, char** argv) {
  CLI::App app("the demo stack's playlist service");
  app.require_subcommand(1);
  ServiceOptions service;
  auto* serve = app.add_subcommand("serve", "answers requests");
  serve->add_option("--listen", service.listen, "address:port");
  serve->add_option("--redis", service.redis, "address:port");
  serve->add_option("--postgres", service.postgres, "connection string")->required();
  serve->add_option("--volume", service.volume, "directory for the log of changes")->required();
  LoadOptions load;
  auto* listeners = app.add_subcommand("load", "sends requests at a steady rate");
  listeners->add_option("--to", load.to, "address:port");
  listeners->add_option("--reads", load.reads_per_s, "reads a second");
  listeners->add_option("--plays", load.plays_per_s, "plays a second");
  listeners->add_option("--batches", load.batches_per_s, "batches of play events a second");
  CLI11_PARSE(app, argc, argv);

  try {
    asio::io_context io(1);
    std::optional<Service> server;
    if (serve->parsed()) {
      server.emplace(io, service);
      asio::co_spawn(io, server->serve(), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
      });
    } else {
      start_load(io, load);
    }
    asio::signal_set signals(io, SIGTERM, SIGINT);
    signals.async_wait([&](auto, int) { io.stop(); });
    io.run();
  } catch (const std::exception& e) {
    fmt::print(stderr, "squall-playlist: {}\n", e.what());
    return 1;
  }
}
