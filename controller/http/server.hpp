// A small HTTP/1.1 server (Boost.Beast, kept inside server.cpp): the webhook receiver's and the live view's
// engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace squall::http {

struct ServerRequest {
  std::string method, target, body;
  std::string remote;  // address:port of the caller
  std::string user_agent;
  std::vector<std::pair<std::string, std::string>> headers = {};  // names in lower case, in their order
  // Its first value, "" where there is none; and how often it comes.
  std::string header(std::string_view name) const;
  std::size_t count(std::string_view name) const;
};

// The body of an answer that goes on: what is sent leaves at once. A reader who falls behind by more than
// 1 MiB, or who takes nothing for 30 s, is let go.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void send(std::string) = 0;
  virtual bool open() const = 0;
};

struct ServerAnswer {
  int status = 200;
  std::string body;
  std::string type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Where it is set, the answer goes on: `body` is its beginning, and the stream is handed over here.
  std::function<void(std::shared_ptr<Stream>)> stream = {};
};

class Server {
 public:
  // Listens on address:port (port 0: any free one); throws std::runtime_error naming the address when it
  // cannot.
  Server(boost::asio::io_context&, const std::string& address_and_port,
         std::function<ServerAnswer(const ServerRequest&)> handle, std::size_t largest_body = 4 << 20);
  ~Server();
  Server(const Server&) = delete;
  std::uint16_t port() const;
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall::http
