#include "tests/stack/cache.hpp"

#include <charconv>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace squall::stack {
namespace {

namespace asio = boost::asio;
constexpr auto awaiting = asio::as_tuple(asio::use_awaitable);

std::string encode(const std::vector<std::string>& words) {
  auto out = fmt::format("*{}\r\n", words.size());
  for (auto& word : words)
    out += fmt::format("${}\r\n{}\r\n", word.size(), word);
  return out;
}

}  // namespace

asio::awaitable<Cache::Answer> Cache::get(std::string key) {
  return ask({"GET", std::move(key)});
}

asio::awaitable<Cache::Answer> Cache::set(std::string key, std::string value, std::chrono::seconds lives) {
  return ask({"SET", std::move(key), std::move(value), "EX", std::to_string(lives.count())});
}

asio::awaitable<Cache::Answer> Cache::ask(std::vector<std::string> words) {
  const auto start = Clock::now();
  std::unique_ptr<Connection> connection;
  if (!idle_.empty()) {
    connection = std::move(idle_.back());
    idle_.pop_back();
  } else {
    auto executor = co_await asio::this_coro::executor;
    connection.reset(new Connection{boost::beast::tcp_stream(executor), {}});
  }
  auto question = encode(words);
  auto answer = co_await ask_on(*connection, std::move(question));
  latency_.observe(seconds_since(start));
  if (answer) idle_.push_back(std::move(connection));
  co_return answer;
}

asio::awaitable<Cache::Answer> Cache::ask_on(Connection& connection, std::string question) {
  auto& stream = connection.stream;
  auto failed = [](std::string_view what, const boost::system::error_code& error) {
    return tl::unexpected(fmt::format("{}: {}", what, error.message()));
  };
  stream.expires_after(deadline_);
  if (!stream.socket().is_open()) {
    auto [error] = co_await stream.async_connect(redis_, awaiting);
    if (error) co_return failed("connect to redis", error);
    stream.socket().set_option(asio::ip::tcp::no_delay(true));
  }
  auto [not_sent, sent] = co_await asio::async_write(stream, asio::buffer(question), awaiting);
  if (not_sent) co_return failed("ask redis", not_sent);
  auto& buffer = connection.buffer;
  auto [not_read, line_size] =
      co_await asio::async_read_until(stream, asio::dynamic_buffer(buffer), "\r\n", awaiting);
  if (not_read) co_return failed("read from redis", not_read);
  const std::string line = buffer.substr(0, line_size - 2);
  buffer.erase(0, line_size);
  if (line.starts_with('+')) co_return std::optional<std::string>(line.substr(1));
  long size = -1;
  if (!line.starts_with('$') ||
      std::from_chars(line.data() + 1, line.data() + line.size(), size).ec != std::errc{})
    co_return tl::unexpected(fmt::format("redis answered \"{}\"", line));
  if (size < 0) co_return std::nullopt;
  const auto whole = static_cast<std::size_t>(size) + 2;
  if (buffer.size() < whole) {
    auto [cut_off, read] = co_await asio::async_read(stream, asio::dynamic_buffer(buffer),
                                                     asio::transfer_exactly(whole - buffer.size()), awaiting);
    if (cut_off) co_return failed("read from redis", cut_off);
  }
  std::optional<std::string> value(buffer.substr(0, whole - 2));
  buffer.erase(0, whole);
  co_return value;
}

}  // namespace squall::stack
