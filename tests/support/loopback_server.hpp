// A TCP server on loopback that behaves as a test says: answers, closes, stays silent, sends garbage.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace squall::test {

class LoopbackServer {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  // One connection of a client. The server keeps it until it is closed.
  struct Connection : std::enable_shared_from_this<Connection> {
    explicit Connection(Socket s) : socket(std::move(s)) {}
    void send(std::string text) {
      auto bytes = std::make_shared<std::string>(std::move(text));
      boost::asio::async_write(socket, boost::asio::buffer(*bytes),
                               [self = shared_from_this(), bytes](auto, auto) {});
    }
    void close() {
      boost::system::error_code ignored;
      socket.close(ignored);
    }
    Socket socket;
    std::string received;
    std::array<char, 4096> chunk{};
  };
  using Heard = std::function<void(Connection&)>;

  // `heard` runs after each read, with all that was received and not yet taken by the test in `received`.
  LoopbackServer(boost::asio::io_context& loop, Heard heard)
      : acceptor_(loop, {boost::asio::ip::address_v4::loopback(), 0}),
        port_(acceptor_.local_endpoint().port()),
        heard_(std::move(heard)) {
    accept();
  }

  std::uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url(const std::string& path = "/") const { return "http://" + address() + path; }
  int connections() const { return connections_; }

 private:
  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& failed, Socket socket) {
      if (failed) return;
      ++connections_;
      listen(std::make_shared<Connection>(std::move(socket)));
      accept();
    });
  }

  void listen(const std::shared_ptr<Connection>& connection) {
    connection->socket.async_read_some(boost::asio::buffer(connection->chunk),
                                       [connection, this](const boost::system::error_code& failed, auto n) {
                                         if (failed) return;
                                         connection->received.append(connection->chunk.data(), n);
                                         heard_(*connection);
                                         if (connection->socket.is_open()) listen(connection);
                                       });
  }

  boost::asio::ip::tcp::acceptor acceptor_;
  std::uint16_t port_;
  Heard heard_;
  int connections_ = 0;
};

// Answers every HTTP request (without a body) with what `answer` makes of it.
inline LoopbackServer::Heard http_answers(std::function<std::string(const std::string& request)> answer) {
  return [answer](LoopbackServer::Connection& connection) {
    for (std::size_t end; (end = connection.received.find("\r\n\r\n")) != std::string::npos;) {
      const std::string request = connection.received.substr(0, end + 4);
      connection.received.erase(0, end + 4);
      connection.send(answer(request));
    }
  };
}

inline std::string http_answer(int status, const std::string& body = "", const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace squall::test
