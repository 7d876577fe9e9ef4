// squall toxiproxy: a TCP proxy with toxics under toxiproxy's own API, until it is stopped.
#include <csignal>
#include <fstream>
#include <random>
#include <sstream>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "controller/commands/commands.hpp"
#include "controller/commands/input.hpp"
#include "controller/http/server.hpp"
#include "injector/proxy/toxiproxy_api.hpp"
#include "injector/system/descriptor_limit.hpp"

namespace squall {

int toxiproxy_command(const Arguments& with) {
  raise_descriptor_limit();
  boost::asio::io_context io{1};
  const auto seed = with.seed ? *with.seed : std::random_device{}();
  proxy::ToxiproxyApi api{io, seed, with.metrics};
  if (!with.config.empty()) {
    std::ifstream file{with.config};
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
      complain(fmt::format("{}: cannot be read", with.config));
      return exit_input;
    }
    try {
      api.populate(text.str());
    } catch (const std::exception& e) {
      complain(fmt::format("{}: {}", with.config, e.what()));
      return exit_input;
    }
  }
  std::uint64_t requests = 0;
  http::Server server{
      io, with.listen, [&](const http::ServerRequest& request) {
        auto answer = api.answer({request.method, request.target, request.body, request.user_agent});
        return http::ServerAnswer{answer.status,
                                  std::move(answer.body),
                                  std::move(answer.type),
                                  {{"X-Toxiproxy-Request-Id", fmt::format("{:016x}", seed + ++requests)}}};
      }};
  boost::asio::signal_set signals{io, SIGINT, SIGTERM};
  signals.async_wait([&](auto, int) { io.stop(); });
  const auto host = with.listen.substr(0, with.listen.rfind(':'));
  if (with.json())
    fmt::print("{{\"listen\":\"{}:{}\",\"seed\":{}}}\n", host, server.port(), seed);
  else
    fmt::print("toxiproxy's API on http://{}:{}, {} proxies, seed {}; Ctrl-C ends it\n", host, server.port(),
               api.size(), seed);
  std::fflush(stdout);
  io.run();
  return exit_pass;
}

}  // namespace squall
