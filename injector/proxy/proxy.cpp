#include "injector/proxy/proxy.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/proxy/address.hpp"
#include "injector/proxy/connection.hpp"
#include "injector/proxy/roll.hpp"

namespace squall::proxy {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

std::string to_text(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

// The first IPv4 address of a name, else its first one, as Go listens: clients that say 127.0.0.1 reach
// "localhost".
tcp::endpoint to_listen_on(asio::io_context& io, const Address& address) {
  const auto found = tcp::resolver{io}.resolve(address.host, address.port);
  const auto v4 =
      std::find_if(found.begin(), found.end(), [](auto& one) { return one.endpoint().address().is_v4(); });
  return (v4 == found.end() ? found.begin() : v4)->endpoint();
}

Fd open_listener(const tcp& protocol) {
  return Fd{::socket(protocol.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

[[noreturn]] void fail() {
  throw boost::system::system_error{{errno, boost::system::system_category()}};
}

}  // namespace

struct Proxy::Listener : SocketOwner, std::enable_shared_from_this<Listener> {
  explicit Listener(Proxy& owner)
      : proxy(owner), socket(owner.engine_.readiness, *this), pause(owner.engine_.io) {}
  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }
  void ready(Socket&) override {
    if (!paused) proxy.accept();
  }
  Proxy& proxy;
  Socket socket;
  asio::steady_timer pause;
  bool paused = false;

  // Whoever is accepted needs a second descriptor, for the upstream; looking up its name takes two more for a
  // while.
  std::array<Fd, 3> reserve;
  bool has_reserve() {
    for (auto& one : reserve)
      if (!one) one = Fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    if (reserve.back()) return true;
    give_reserve_back();
    return false;
  }
  void give_reserve_back() {
    for (auto& one : reserve)
      one.reset();
  }
};

Proxy::Proxy(Engine& engine, ProxyPlan plan)
    : engine_(engine), plan_(std::move(plan)), listen_(plan_.listen) {
  if (!plan_.http) return;
  http_ = std::make_shared<HttpControl>();
  http_->seed = plan_.seed;
}

Proxy::~Proxy() {
  disable();
}

void Proxy::enable() {
  if (listener_) return;
  const auto address = split_address(listen_);
  if (!names_a_port(address))
    throw std::invalid_argument(address.port.empty() ? "missing port in address"
                                                     : fmt::format("invalid port \"{}\"", address.port));
  tcp::endpoint at;
  if (address.host.empty()) {
    at = {tcp::v6(),
          address.number
              ? *address.number
              : to_listen_on(engine_.io, {.host = "::", .port = address.port, .number = {}}).port()};
  } else {
    at = to_listen_on(engine_.io, address);
  }
  auto socket = open_listener(at.protocol());
  if (!socket && errno == EAFNOSUPPORT && address.host.empty()) {
    at = {tcp::v4(), at.port()};
    socket = open_listener(at.protocol());
  }
  if (!socket) fail();
  const int yes = 1, no = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes,
               sizeof yes);  // which the accepted sockets inherit
  if (at.protocol() == tcp::v6()) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  socklen_t size = static_cast<socklen_t>(at.size());
  if (::bind(socket.get(), at.data(), size) != 0 || ::listen(socket.get(), 4096) != 0 ||
      ::getsockname(socket.get(), at.data(), &size) != 0)
    fail();
  port_ = at.port();
  listen_ = to_text(at);
  listener_ = std::make_shared<Listener>(*this);
  listener_->socket.open(std::move(socket));
  listener_->socket.watch();
}

// All that wait are called first and carried then, so that the kernel does the like many times over.
void Proxy::accept() {
  gathering_ = true;
  accept_all();
  gathering_ = false;
  for (auto& one : std::exchange(called_, {}))
    one->await_server();
}

bool Proxy::gather(Connection& called) {
  if (gathering_) called_.push_back(called.shared_from_this());
  return gathering_;
}

void Proxy::accept_all() {
  constexpr int at_once = 64;
  const auto listener = listener_;  // which a client may bring to an end
  for (int count = 0; listener_ == listener && listener->socket.readable(); ++count) {
    if (count == at_once) return engine_.readiness.again(listener->socket);
    if (!listener->has_reserve()) return accept_later();
    Fd client{::accept4(listener->socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (client) {
      listener->paused = !take(std::move(client));
      if (listener->paused) return;
    } else if (errno == EAGAIN) {
      listener->socket.nothing_left();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return accept_later();
    }
  }
}

bool Proxy::take(Fd client) {
  const auto number = ++statistics_.connections;
  ++statistics_.open;
  auto connection = std::make_shared<Connection>(*this, std::move(client), number);
  connections_.insert(connection);
  return connection->dial();
}

void Proxy::accept_waiting() {
  for (Fd client; listener_; take(std::move(client))) {
    client = Fd{::accept4(listener_->socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!client) return;
  }
}

// Out of descriptors, most likely: those who wait are served when others have gone.
void Proxy::accept_later() {
  listener_->paused = true;
  listener_->pause.expires_after(std::chrono::milliseconds{20});
  listener_->pause.async_wait([this, listener = listener_](auto stopped) {
    if (!stopped && listener == listener_) accept_next();
  });
}

void Proxy::accept_next() {
  if (!listener_) return;
  listener_->paused = false;
  accept();
}

void Proxy::give_reserve_back() {
  if (listener_) listener_->give_reserve_back();
}

void Proxy::accept_no_more() {
  if (!listener_) return;
  listener_->socket.close();
  listener_->pause.cancel();
  listener_.reset();
}

void Proxy::end_connections() {
  for (auto& connection : std::vector(connections_.begin(), connections_.end()))
    connection->close(false);
}

void Proxy::break_off() {
  accept_no_more();
  for (auto& connection : std::vector(connections_.begin(), connections_.end()))
    connection->close(connection->is_carrying());
}

void Proxy::disable() {
  accept_no_more();
  end_connections();
}

void Proxy::change(std::string listen, std::string upstream) {
  plan_.listen = listen_ = std::move(listen);
  plan_.upstream = std::move(upstream);
}

void Proxy::set_toxics(std::vector<Toxic> toxics) {
  toxics_ = std::move(toxics);
  for (auto& connection : std::vector(connections_.begin(), connections_.end()))
    connection->toxics_changed();
}

void Proxy::set_http(std::shared_ptr<const HttpRule> rule) {
  if (!http_) return;
  http_->rule = std::move(rule);
  for (auto& connection : std::vector(connections_.begin(), connections_.end()))
    connection->rule_changed();
}

ProxyStatistics Proxy::statistics() const {
  auto out = statistics_;
  if (http_) {
    out.http = http_->counters;
    out.http.went_by = http_->went_by.to_string();
  }
  return out;
}

std::vector<Toxic> Proxy::hitting(std::uint64_t connection, Stream stream) const {
  std::vector<Toxic> out;
  for (auto& toxic : toxics_)
    if (toxic.stream == stream && roll(plan_.seed, connection, toxic.name) < toxic.toxicity)
      out.push_back(toxic);
  return out;
}

}  // namespace squall::proxy
