// The playlist service's HTTP side: the one source that sees Beast's HTTP templates.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "tests/stack/service.hpp"

namespace squall::stack {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr auto awaiting = asio::as_tuple(asio::use_awaitable);
constexpr auto idle_patience = std::chrono::seconds{60};
constexpr std::size_t largest_body = 1 << 20;

}  // namespace

asio::awaitable<void> Service::serve() {
  asio::ip::tcp::acceptor acceptor(io_, listen_);
  while (true) {
    auto [error, socket] = co_await acceptor.async_accept(awaiting);
    if (error) continue;
    socket.set_option(asio::ip::tcp::no_delay(true));
    asio::co_spawn(io_, converse(std::move(socket)), asio::detached);
  }
}

asio::awaitable<void> Service::converse(asio::ip::tcp::socket socket) {
  boost::beast::tcp_stream stream(std::move(socket));
  boost::beast::flat_buffer buffer;
  while (true) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(largest_body);
    stream.expires_after(idle_patience);
    auto [not_read, size] = co_await http::async_read(stream, buffer, parser, awaiting);
    if (not_read) co_return;
    auto& request = parser.get();
    auto reply = co_await answer(std::string(request.method_string()), std::string(request.target()),
                                 std::move(request.body()));
    http::response<http::string_body> response(static_cast<http::status>(reply.status), 11);
    response.set(http::field::content_type, reply.type);
    response.body() = std::move(reply.body);
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    stream.expires_after(idle_patience);
    auto [not_written, written] = co_await http::async_write(stream, response, awaiting);
    if (not_written || !response.keep_alive()) co_return;
  }
}

namespace {

// Sends one kind of request at a steady rate over one connection; what an answer takes longer than the
// interval is not made up for, as a client that waits would.
asio::awaitable<void> send_steadily(std::string to, http::request<http::string_body> request, unsigned per_s,
                                    std::function<std::string()> target) {
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor);
  const auto interval = std::chrono::nanoseconds(1'000'000'000 / per_s);
  const auto endpoint = endpoint_of(to);
  request.set(http::field::host, to);
  std::optional<boost::beast::tcp_stream> stream;
  boost::beast::flat_buffer buffer;
  while (true) {
    timer.expires_after(interval);
    if (!stream) {
      stream.emplace(executor);
      buffer.clear();
      stream->expires_after(std::chrono::seconds{2});
      auto [refused] = co_await stream->async_connect(endpoint, awaiting);
      if (refused) stream.reset();
    }
    if (stream) {
      stream->expires_after(std::chrono::seconds{15});
      request.target(target());
      auto [not_sent, sent] = co_await http::async_write(*stream, request, awaiting);
      http::response<http::string_body> response;
      if (!not_sent) {
        auto [not_read, read] = co_await http::async_read(*stream, buffer, response, awaiting);
        if (not_read || !response.keep_alive()) stream.reset();
      } else {
        stream.reset();
      }
    }
    co_await timer.async_wait(awaiting);
  }
}

}  // namespace

void start_load(asio::io_context& io, const LoadOptions& options) {
  constexpr unsigned clients = 4, playlists = 1000;
  auto next_playlist = [count = std::make_shared<unsigned>(0)](std::string suffix) {
    return [count, suffix] { return "/playlists/" + std::to_string((*count += 7) % playlists + 1) + suffix; };
  };
  auto start = [&](http::verb method, unsigned per_s, std::string body, std::function<std::string()> target) {
    http::request<http::string_body> request(method, "/", 11);
    request.body() = std::move(body);
    request.prepare_payload();
    for (unsigned i = 0; i < clients; ++i)
      asio::co_spawn(io, send_steadily(options.to, request, std::max(1U, per_s / clients), target),
                     asio::detached);
  };
  start(http::verb::get, options.reads_per_s, "", next_playlist(""));
  start(http::verb::post, options.plays_per_s, "", next_playlist("/plays"));
  start(http::verb::post, options.batches_per_s, std::string(options.batch_bytes, '\n'),
        [] { return std::string("/plays"); });
}

}  // namespace squall::stack
