#include "tests/proxy/proxy_under_test.hpp"

#include <cerrno>
#include <csignal>
#include <random>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::testing {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

void set_up(int socket) {
  const timeval patience{20, 0};
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

Client::Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  set_up(socket_);
  const auto to = loopback(port);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) error = errno;
}
Client::Client(int descriptor) : socket_(descriptor) {
  set_up(socket_);
}
Client::Client(Client&& other) noexcept : error(other.error), socket_(std::exchange(other.socket_, -1)) {}
Client::~Client() {
  if (socket_ >= 0) ::close(socket_);
}

void Client::send(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const auto sent = ::send(socket_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (sent <= 0) {
      error = errno;
      return;
    }
    done += static_cast<std::size_t>(sent);
  }
}

void Client::send_no_more() {
  ::shutdown(socket_, SHUT_WR);
}

void Client::reset() {
  const linger at_once{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(std::exchange(socket_, -1));
}

std::string Client::some(std::size_t most) {
  std::string out(most, 0);
  const auto got = ::recv(socket_, out.data(), most, 0);
  if (got < 0) error = errno;
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return out;
}

std::string Client::bytes(std::size_t count) {
  std::string out;
  while (out.size() < count) {
    const auto more = some(count - out.size());
    if (more.empty()) break;
    out += more;
  }
  return out;
}

std::string Client::rest() {
  std::string out;
  for (auto more = some(); !more.empty(); more = some())
    out += more;
  return out;
}

bool Client::silent(int milliseconds) {
  pollfd ready{socket_, POLLIN, 0};
  return ::poll(&ready, 1, milliseconds) == 0;
}

Upstream::Upstream(std::function<void(Client&)> serve)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto at = loopback(0);
  socklen_t size = sizeof at;
  if (::bind(socket_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(socket_, 1024) != 0)
    throw std::runtime_error("listen");
  ::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size);
  port_ = ntohs(at.sin_port);
  thread_ = std::thread{[this, serve = std::move(serve)] {
    for (;;) {
      const int one = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      if (one < 0) return;
      served_.emplace_back([one, serve] {
        Client client{one};
        serve(client);
      });
    }
  }};
}

Upstream::~Upstream() {
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
  ::close(socket_);
  for (auto& one : served_)
    one.join();
}

void echo(Client& client) {
  for (auto text = client.some(); !text.empty(); text = client.some())
    client.send(text);
}

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random{seed};
  std::string out(size, 0);
  for (auto& c : out)
    c = static_cast<char>(random());
  return out;
}

ProxyUnderTest::ProxyUnderTest(std::uint16_t upstream, std::uint64_t seed, bool http)
    : ProxyUnderTest(fmt::format("127.0.0.1:{}", upstream), seed, http) {}

ProxyUnderTest::ProxyUnderTest(const std::string& upstream, std::uint64_t seed, bool http) {
  std::signal(SIGPIPE, SIG_IGN);  // as the programs do: splice(2) has no MSG_NOSIGNAL
  proxy::ProxyPlan plan;
  plan.name = "test";
  plan.listen = "127.0.0.1:0";
  plan.upstream = upstream;
  plan.seed = seed;
  plan.http = http;
  proxy_ = std::make_unique<proxy::Proxy>(engine_, plan);
  proxy_->enable();
  port_ = proxy_->port();
  thread_ = std::thread{[this] { io_.run(); }};
}

ProxyUnderTest::~ProxyUnderTest() {
  with([this](auto&) {
    proxy_.reset();
    return 0;
  });
  work_.reset();
  thread_.join();
}

}  // namespace squall::testing
