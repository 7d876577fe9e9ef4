#include "injector/proxy/proxy.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <fcntl.h>

#include <fmt/format.h>

#include <boost/asio/ip/v6_only.hpp>
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

// The first IPv4 address of a name, else its first one, as Go listens: clients that say 127.0.0.1 reach "localhost".
tcp::endpoint to_listen_on(asio::io_context& io, const Address& address) {
  const auto found = tcp::resolver{io}.resolve(address.host, address.port);
  const auto v4 = std::find_if(found.begin(), found.end(), [](auto& one) { return one.endpoint().address().is_v4(); });
  return (v4 == found.end() ? found.begin() : v4)->endpoint();
}

}  // namespace

struct Proxy::Listener {
  explicit Listener(asio::io_context& io) : acceptor(io), pause(io) {}
  tcp::acceptor acceptor;
  asio::steady_timer pause;
  bool closed = false;

  // Whoever is accepted needs a second descriptor, for the upstream; looking up its name takes two more for a while.
  std::array<Fd, 3> reserve;
  bool has_reserve() {
    for (auto& one : reserve)
      if (!one) one = Fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    if (reserve.back()) return true;
    give_reserve_back();
    return false;
  }
  void give_reserve_back() {
    for (auto& one : reserve) one.reset();
  }
};

Proxy::Proxy(asio::io_context& io, Pipes& pipes, ProxyPlan plan) : io_(io), pipes_(pipes), plan_(std::move(plan)), listen_(plan_.listen) {
  if (!plan_.http) return;
  http_ = std::make_shared<HttpControl>();
  http_->seed = plan_.seed;
}

Proxy::~Proxy() { disable(); }

void Proxy::enable() {
  if (listener_) return;
  const auto address = split_address(listen_);
  if (!names_a_port(address)) throw std::invalid_argument(address.port.empty() ? "missing port in address" : fmt::format("invalid port \"{}\"", address.port));
  tcp::endpoint at;
  if (address.host.empty()) {
    at = {tcp::v6(), address.number ? *address.number : to_listen_on(io_, {.host = "::", .port = address.port, .number = {}}).port()};
  } else {
    at = to_listen_on(io_, address);
  }
  auto listener = std::make_shared<Listener>(io_);
  boost::system::error_code no_v6;
  listener->acceptor.open(at.protocol(), no_v6);
  if (no_v6 && address.host.empty()) {
    at = {tcp::v4(), at.port()};
    listener->acceptor.open(at.protocol());
  } else if (no_v6) {
    throw boost::system::system_error{no_v6};
  }
  listener->acceptor.set_option(tcp::acceptor::reuse_address(true));
  listener->acceptor.set_option(tcp::no_delay(true));  // which the accepted sockets inherit
  if (at.protocol() == tcp::v6()) listener->acceptor.set_option(asio::ip::v6_only(false), no_v6);
  listener->acceptor.bind(at);
  listener->acceptor.listen(4096);
  const auto real = listener->acceptor.local_endpoint();
  port_ = real.port();
  listen_ = to_text(real);
  listener_ = listener;
  accept(listener_);
}

void Proxy::accept(const std::shared_ptr<Listener>& listener) {
  if (!listener->has_reserve()) return accept_later(listener);
  listener->acceptor.async_accept([this, listener](auto error, tcp::socket client) {
    if (listener->closed) return;
    if (error) return accept_later(listener);
    if (take(std::move(client))) accept(listener);
  });
}

bool Proxy::take(tcp::socket client) {
  const auto number = ++statistics_.connections;
  ++statistics_.open;
  auto connection = std::make_shared<Connection>(*this, std::move(client), number);
  connections_.insert(connection);
  return connection->dial();
}

void Proxy::accept_waiting() {
  boost::system::error_code none;
  if (listener_) listener_->acceptor.non_blocking(true, none);
  while (listener_ && !none) {
    tcp::socket client{io_};
    listener_->acceptor.accept(client, none);
    if (!none) take(std::move(client));
  }
}

// Out of descriptors, most likely: those who wait are served when others have gone.
void Proxy::accept_later(const std::shared_ptr<Listener>& listener) {
  listener->pause.expires_after(std::chrono::milliseconds{20});
  listener->pause.async_wait([this, listener](auto stopped) {
    if (!stopped && !listener->closed) accept(listener);
  });
}

void Proxy::accept_next() {
  if (listener_) accept(listener_);
}

void Proxy::give_reserve_back() {
  if (listener_) listener_->give_reserve_back();
}

void Proxy::accept_no_more() {
  if (!listener_) return;
  listener_->closed = true;
  boost::system::error_code ignored;
  listener_->acceptor.close(ignored);
  listener_->pause.cancel();
  listener_.reset();
}

void Proxy::end_connections() {
  for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->close(false);
}

void Proxy::break_off() {
  accept_no_more();
  for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->close(connection->is_carrying());
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
  for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->toxics_changed();
}

void Proxy::set_http(std::shared_ptr<const HttpRule> rule) {
  if (!http_) return;
  http_->rule = std::move(rule);
  for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->rule_changed();
}

ProxyStatistics Proxy::statistics() const {
  auto out = statistics_;
  if (http_) out.http = http_->counters;
  return out;
}

std::vector<Toxic> Proxy::hitting(std::uint64_t connection, Stream stream) const {
  std::vector<Toxic> out;
  for (auto& toxic : toxics_)
    if (toxic.stream == stream && roll(plan_.seed, connection, toxic.name) < toxic.toxicity) out.push_back(toxic);
  return out;
}

}  // namespace squall::proxy
