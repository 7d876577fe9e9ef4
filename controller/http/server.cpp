#include "controller/http/server.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <set>

#include <fcntl.h>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace squall::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Tcp = asio::ip::tcp;
using Handler = std::function<ServerAnswer(const ServerRequest&)>;

constexpr std::size_t largest_backlog = 1 << 20;
constexpr auto idle_patience = std::chrono::seconds{60}, write_patience = std::chrono::seconds{30};

// Asio opens sockets that children inherit: one would hold the port, or a caller's connection, after our end.
void keep_from_children(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// What is left of a connection whose answer goes on: whatever is sent, and its reader's leaving.
class OpenAnswer : public Stream, public std::enable_shared_from_this<OpenAnswer> {
 public:
  explicit OpenAnswer(beast::tcp_stream stream) : stream_(std::move(stream)) {}

  void send(std::string text) override {
    if (!open_ || text.empty()) return;
    backlog_ += text.size();
    waiting_.push_back(std::move(text));
    if (backlog_ > largest_backlog) return close();
    if (waiting_.size() == 1) write();
  }
  bool open() const override { return open_; }

  // Its reader says nothing any more, except by leaving.
  void listen() {
    stream_.socket().async_read_some(asio::buffer(heard_),
                                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                                       if (error) return self->close();
                                       self->listen();
                                     });
  }

  void close() {
    open_ = false;
    beast::error_code ignored;
    stream_.socket().shutdown(Tcp::socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
  }

 private:
  void write() {
    stream_.expires_after(write_patience);
    stream_.async_write_some(asio::buffer(waiting_.front()),
                             [self = shared_from_this()](beast::error_code error, std::size_t wrote) {
                               self->stream_.expires_never();
                               if (error) return self->close();
                               self->wrote(wrote);
                             });
  }
  void wrote(std::size_t bytes) {
    backlog_ -= bytes;
    waiting_.front().erase(0, bytes);
    if (waiting_.front().empty()) waiting_.pop_front();
    if (open_ && !waiting_.empty()) write();
  }

  beast::tcp_stream stream_;
  std::deque<std::string> waiting_;
  std::size_t backlog_ = 0;
  std::array<char, 512> heard_{};
  bool open_ = true;
};

// One connection: a request, its answer, and again, for as long as the caller keeps it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Tcp::socket socket, std::shared_ptr<const Handler> handle, std::size_t largest_body)
      : stream_(std::move(socket)), handle_(std::move(handle)), largest_body_(largest_body) {}

  void read() {
    parser_.emplace();
    parser_->body_limit(largest_body_);
    stream_.expires_after(idle_patience);
    beast::http::async_read(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) {
                              if (error == beast::http::error::body_limit)
                                return self->write({413, "the body is too large\n"}, false);
                              if (error) return self->close();
                              self->answer();
                            });
  }

  void close() {
    beast::error_code ignored;
    stream_.socket().shutdown(Tcp::socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
  }

 private:
  static std::string lower_case(std::string_view text) {
    std::string out(text);
    for (auto& c : out)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
  }

  void answer() {
    auto& message = parser_->get();
    beast::error_code ignored;
    const auto remote = stream_.socket().remote_endpoint(ignored);
    ServerRequest request{std::string(message.method_string()), std::string(message.target()),
                          std::move(message.body()),
                          ignored ? "" : fmt::format("{}:{}", remote.address().to_string(), remote.port()),
                          std::string(message[beast::http::field::user_agent])};
    for (auto& field : message)
      request.headers.emplace_back(lower_case(field.name_string()), std::string(field.value()));
    ServerAnswer reply;
    try {
      reply = (*handle_)(request);
    } catch (const std::exception& e) {
      reply = {500, fmt::format("{}\n", e.what())};
    }
    if (reply.stream) return go_on(reply);
    write(std::move(reply), message.keep_alive());
  }

  void go_on(const ServerAnswer& reply) {
    auto text = fmt::format("HTTP/1.1 {} OK\r\nServer: squall\r\nContent-Type: {}\r\nConnection: close\r\n",
                            reply.status, reply.type);
    for (auto& [name, value] : reply.headers)
      text += fmt::format("{}: {}\r\n", name, value);
    stream_.expires_never();
    auto open = std::make_shared<OpenAnswer>(std::move(stream_));
    open->listen();
    open->send(text + "\r\n" + reply.body);
    reply.stream(open);
  }

  void write(ServerAnswer reply, bool keep) {
    auto message = std::make_shared<beast::http::response<beast::http::string_body>>();
    message->version(11);
    message->result(static_cast<unsigned>(reply.status));
    message->set(beast::http::field::server, "squall");
    message->set(beast::http::field::content_type, reply.type);
    for (auto& [name, value] : reply.headers)
      message->set(name, value);
    message->body() = std::move(reply.body);
    message->keep_alive(keep);
    message->prepare_payload();
    stream_.expires_after(write_patience);
    beast::http::async_write(
        stream_, *message, [self = shared_from_this(), message, keep](beast::error_code error, std::size_t) {
          if (error || !keep) return self->close();
          self->read();
        });
  }

  beast::tcp_stream stream_;
  std::shared_ptr<const Handler> handle_;
  std::size_t largest_body_;
  beast::flat_buffer buffer_;
  std::optional<beast::http::request_parser<beast::http::string_body>> parser_;
};

Tcp::endpoint endpoint_of(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos)
    throw std::runtime_error(fmt::format("listen on \"{}\": expected address:port", text));
  auto address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  if (address.empty() || address == "localhost") address = "127.0.0.1";
  beast::error_code error;
  const auto parsed = asio::ip::make_address(address, error);
  if (error) throw std::runtime_error(fmt::format("listen on {}: \"{}\" is not an address", text, address));
  std::uint16_t port = 0;
  const auto* const end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data() + colon + 1, end, port);
      read.ec != std::errc{} || read.ptr != end)
    throw std::runtime_error(
        fmt::format("listen on {}: \"{}\" is not a port (0 to 65535)", text, text.substr(colon + 1)));
  return {parsed, port};
}

}  // namespace

std::string ServerRequest::header(std::string_view name) const {
  for (auto& [key, value] : headers)
    if (key == name) return value;
  return "";
}

std::size_t ServerRequest::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(headers.begin(), headers.end(), [&](auto& one) { return one.first == name; }));
}

struct Server::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, Handler h, std::size_t largest)
      : acceptor(io),
        pause(io),
        handle(std::make_shared<const Handler>(std::move(h))),
        largest_body(largest) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](beast::error_code error, Tcp::socket socket) {
      if (error == asio::error::operation_aborted || self->stopped) return;
      if (error) return self->accept_later();
      keep_from_children(socket.native_handle());
      auto connection = std::make_shared<Connection>(std::move(socket), self->handle, self->largest_body);
      self->forget_ended();
      self->connections.push_back(connection);
      connection->read();
      self->accept();
    });
  }

  // Out of descriptors, most likely, and whoever waits would wake us again at once.
  void accept_later() {
    pause.expires_after(std::chrono::milliseconds{20});
    pause.async_wait([self = shared_from_this()](beast::error_code error) {
      if (!error && !self->stopped) self->accept();
    });
  }

  void forget_ended() {
    std::erase_if(connections, [](auto& one) { return one.expired(); });
  }

  void stop() {
    stopped = true;
    beast::error_code ignored;
    acceptor.close(ignored);
    pause.cancel();
    for (auto& one : connections)
      if (auto connection = one.lock()) connection->close();
    connections.clear();
  }

  Tcp::acceptor acceptor;
  asio::steady_timer pause;
  std::shared_ptr<const Handler> handle;
  std::size_t largest_body;
  std::vector<std::weak_ptr<Connection>> connections;
  bool stopped = false;
};

Server::Server(asio::io_context& io, const std::string& address_and_port, Handler handle,
               std::size_t largest_body)
    : state_(std::make_shared<State>(io, std::move(handle), largest_body)) {
  const auto endpoint = endpoint_of(address_and_port);
  beast::error_code error;
  auto& acceptor = state_->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) keep_from_children(acceptor.native_handle());
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) throw std::runtime_error(fmt::format("listen on {}: {}", address_and_port, error.message()));
  state_->accept();
}

Server::~Server() {
  stop();
}
std::uint16_t Server::port() const {
  return state_->acceptor.local_endpoint().port();
}
void Server::stop() {
  state_->stop();
}

}  // namespace squall::http
