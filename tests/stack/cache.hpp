// Redis, asked over Asio (RESP2), each question with a deadline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <tl/expected.hpp>

#include "tests/stack/metrics.hpp"

namespace squall::stack {

// As many connections as there are questions at a time; a connection that failed is not used again.
class Cache {
 public:
  using Answer = tl::expected<std::optional<std::string>, std::string>;  // nothing where Redis answers nil

  Cache(boost::asio::ip::tcp::endpoint redis, std::chrono::milliseconds deadline, Histogram& latency)
      : redis_(redis), deadline_(deadline), latency_(latency) {}

  boost::asio::awaitable<Answer> get(std::string key);
  boost::asio::awaitable<Answer> set(std::string key, std::string value, std::chrono::seconds lives);

 private:
  struct Connection {
    boost::beast::tcp_stream stream;
    std::string buffer;
  };

  boost::asio::awaitable<Answer> ask(std::vector<std::string> words);
  boost::asio::awaitable<Answer> ask_on(Connection& connection, std::string question);

  boost::asio::ip::tcp::endpoint redis_;
  std::chrono::milliseconds deadline_;
  Histogram& latency_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace squall::stack
