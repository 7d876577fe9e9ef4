#include "injector/proxy/connection.hpp"

#include <linux/netfilter_ipv4.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include <boost/asio/post.hpp>

#include "injector/host/match/endpoint_set.hpp"

namespace squall::proxy {
namespace {

using tcp = boost::asio::ip::tcp;

// Where the client wanted to go before the kernel led it here; nothing where nobody led it.
std::optional<tcp::endpoint> original_destination(int client) {
  tcp::endpoint own{tcp::v6(), 0};
  socklen_t own_size = static_cast<socklen_t>(own.capacity());
  if (::getsockname(client, own.data(), &own_size) != 0) return std::nullopt;
  own.resize(own_size);
  const bool v4 = own.address().is_v4() || own.address().to_v6().is_v4_mapped();
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  // IP6T_SO_ORIGINAL_DST is 80 as well; its header does not go with <netinet/in.h>.
  if (::getsockopt(client, v4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, &storage, &size) != 0)
    return std::nullopt;
  tcp::endpoint out{v4 ? tcp::v4() : tcp::v6(), 0};
  std::copy_n(reinterpret_cast<const char*>(&storage), out.size(), reinterpret_cast<char*>(out.data()));
  auto plain = own.address();
  if (plain.is_v6() && v4)
    plain = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, plain.to_v6());
  if (out.address() == plain && out.port() == own.port()) return std::nullopt;
  return out;
}

void note(EndpointSet* ends, int socket, int (*name_of)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (!ends || name_of(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return;
  if (const auto end = endpoint_of(IPPROTO_TCP, reinterpret_cast<const sockaddr*>(&name))) ends->add(*end);
}

std::optional<tcp::endpoint> peer_of(int socket) {
  tcp::endpoint out{tcp::v6(), 0};
  socklen_t size = static_cast<socklen_t>(out.capacity());
  if (::getpeername(socket, out.data(), &size) != 0) return {};
  out.resize(size);
  const auto address = out.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    out.address(boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6()));
  return out;
}

boost::system::error_code error_of(const Socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  return {error, boost::system::system_category()};
}

}  // namespace

Connection::Connection(Proxy& proxy, Fd client, std::uint64_t number)
    : proxy_(&proxy),
      engine_(proxy.engine_),
      number_(number),
      client_(engine_.readiness, *this),
      server_(engine_.readiness, *this),
      up_(*this, client_, server_, engine_, proxy.statistics_.up),
      down_(*this, server_, client_, engine_, proxy.statistics_.down) {
  client_.open(std::move(client));
  note(proxy.plan_.clients.get(), client_.fd(), ::getpeername);
  if (!proxy.http_) return;
  http_ = std::make_unique<HttpSession>(proxy.http_, number);
  up_.put_first(http_->requests());
  down_.put_first(http_->responses());
  http_->wake = [this] {
    boost::asio::post(engine_.io, [this, alive = keep_alive()] {
      if (!proxy_) return;
      http_->answer();
      down_.wake();
    });
  };
}

bool Connection::dial() {
  if (proxy_->plan().upstream.empty()) {
    const auto wanted = original_destination(client_.fd());
    wanted ? connect({*wanted}) : close(true);
    return true;
  }
  const auto address = split_address(proxy_->plan().upstream);
  boost::system::error_code name;
  const auto literal = boost::asio::ip::make_address(address.host, name);
  if (!names_a_port(address))
    connected(boost::asio::error::invalid_argument);
  else if (!name && address.number)
    connect({{literal, *address.number}});
  else
    look_up(address);
  return !resolver_;
}

void Connection::look_up(const Address& address) {
  proxy_->give_reserve_back();
  resolver_.emplace(engine_.io)
      .async_resolve(address.host, address.port, [this, alive = keep_alive()](auto error, auto found) {
        auto* proxy = proxy_;
        if (!proxy) return;
        if (error || found.empty())
          connected(error ? error : boost::asio::error::host_not_found);
        else
          connect({found.begin(), found.end()});
        proxy->accept_next();
      });
}

void Connection::connect(std::vector<tcp::endpoint> to) {
  to_ = std::move(to);
  early_ = up_.read_early();
  if (proxy_) connect_to_next();
}

void Connection::connect_to_next() {
  const auto& to = to_[tried_++];
  bool called = call(to, true);
  if (!called && errno == EADDRNOTAVAIL) called = call(to, false);
  if (!called) return connected({errno, boost::system::system_category()});
  note_own_end();
  if (!proxy_->gather(*this)) await_server();
}

bool Connection::call(const tcp::endpoint& to, bool by_rare_port) {
  server_.open(open_server(to.protocol()));
  if (!server_.is_open()) return false;
  const int yes = 1, no = 0;
  ::setsockopt(server_.fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (const auto mark = proxy_->plan().mark)
    ::setsockopt(server_.fd(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
  if (!be_seen_as_the_client(by_rare_port)) return false;
  // What the client has said already goes along with the handshake's last packet (tcp(7)).
  if (early_) ::setsockopt(server_.fd(), IPPROTO_TCP, TCP_QUICKACK, &no, sizeof no);
  return ::connect(server_.fd(), to.data(), static_cast<socklen_t>(to.size())) == 0 || errno == EINPROGRESS;
}

bool Connection::be_seen_as_the_client(bool by_rare_port) {
  const auto& client_as = proxy_->plan().client_as;
  if (!client_as) return true;
  auto client = peer_of(client_.fd());
  if (!client) return false;
  const auto as = client_as(client->address());
  errno = EADDRNOTAVAIL;
  if (!as || (as->priority &&
              ::setsockopt(server_.fd(), SOL_SOCKET, SO_PRIORITY, &as->priority, sizeof as->priority) != 0))
    return false;
  if (!as->by_itself) return !by_rare_port || take_rare_port(client->address().is_v6());
  // The port is chosen with the peer, of which there are more than ports.
  const int yes = 1;
  ::setsockopt(server_.fd(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  client->port(0);
  return ::bind(server_.fd(), client->data(), static_cast<socklen_t>(client->size())) == 0;
}

// Where clients seldom have theirs (Linux has 32768 to 60999): the server may still remember one that it
// closed (TIME_WAIT), and would take another by the same port only at the second try, some 10 ms later.
bool Connection::take_rare_port(bool v6) {
  constexpr std::uint64_t first = 10'000, ports = 22'000, most_tries = 32;
  const int yes = 1;
  ::setsockopt(server_.fd(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  for (std::uint64_t tries = 0; tries < most_tries; ++tries) {
    const auto port = first + (proxy_->plan().seed % ports + number_ + tries * 7919) % ports;
    const tcp::endpoint any{v6 ? tcp::v6() : tcp::v4(), static_cast<std::uint16_t>(port)};
    if (::bind(server_.fd(), any.data(), static_cast<socklen_t>(any.size())) == 0) break;
  }
  return true;  // else by whichever the kernel chooses
}

// As it is here, and as the server sees it: there the port may be another one, where the client has a
// connection by it already.
void Connection::note_own_end() {
  auto* const ends = proxy_->plan().ends.get();
  note(ends, server_.fd(), ::getsockname);
  auto seen = proxy_->plan().client_as && ends ? peer_of(client_.fd()) : std::nullopt;
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (!seen || ::getsockname(server_.fd(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return;
  seen->port(ntohs(reinterpret_cast<const sockaddr_in*>(&own)->sin_port));  // at the same place for IPv6
  if (const auto end = endpoint_of(IPPROTO_TCP, seen->data())) ends->add(*end);
}

void Connection::await_server() {
  if (!proxy_) return;
  // On this host it is made already: epoll would tell so in a turn that others wait for.
  pollfd made{server_.fd(), POLLOUT, 0};
  if (::poll(&made, 1, 0) == 1 && made.revents == POLLOUT) return connected({});
  server_.watch(true);
}

Fd Connection::open_server(const tcp& protocol) {
  auto open = [&] { return Fd{::socket(protocol.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)}; };
  auto out = open();
  if (out || errno != EMFILE) return out;
  proxy_->give_reserve_back();
  return open();
}

void Connection::connected(boost::system::error_code error) {
  if (error && tried_ < to_.size()) return connect_to_next();
  if (error) {
    ++proxy_->statistics_.unreachable;
    return close(proxy_->plan().upstream.empty());
  }
  state_ = State::carrying;
  toxics_changed();
  up_.start();
  if (early_ && server_.is_open()) {
    const int yes = 1;
    ::setsockopt(server_.fd(), IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
  }
  if (!down_.is_over()) down_.start();
  client_.watch();
  server_.watch();
}

void Connection::ready(Socket& socket) {
  if (!proxy_) return;
  if (state_ == State::connecting) return connected(error_of(server_));
  if (state_ == State::farewell) return discard_what_comes();
  const bool client = &socket == &client_;
  (client ? down_ : up_).writable();
  (client ? up_ : down_).read();
}

void Connection::toxics_changed() {
  const auto keep = shared_from_this();
  const auto up = proxy_->hitting(number_, Stream::upstream),
             down = proxy_->hitting(number_, Stream::downstream);
  if (!hit_ && (!up.empty() || !down.empty())) {
    hit_ = true;
    ++proxy_->statistics_.hit;
  }
  const auto seed = proxy_->plan().seed + number_ * 0x9e3779b97f4a7c15U;
  up_.set_toxics(up, seed);
  if (proxy_) down_.set_toxics(down, ~seed);
}

void Connection::rule_changed() {
  if (!http_) return;
  const auto keep = shared_from_this();
  http_->rule_changed();
  up_.wake();
  down_.wake();
}

void Connection::over(Link&) {
  if (up_.is_over() && down_.is_over()) close(false);
}

void Connection::end(bool reset) {
  if (proxy_ && hit_) ++(reset ? proxy_->statistics_.reset : proxy_->statistics_.closed);
  // As a health check that connects and hangs up: it has gone, and does not learn of it.
  if (proxy_ && hit_ && up_.has_ended() && !up_.has_carried() && !down_.has_carried())
    ++proxy_->statistics_.unnoticed;
  close(reset);
}

// A socket that is closed while something comes resets its connection, and the client loses what it has not
// read yet (RFC 9112, 9.6).
void Connection::farewell() {
  const auto keep = shared_from_this();
  state_ = State::farewell;
  ::shutdown(client_.fd(), SHUT_WR);
  server_.close();
  up_.stop();
  down_.stop();
  patience_.emplace(engine_.io, std::chrono::seconds{5});
  patience_->async_wait([this, alive = keep_alive()](auto error) {
    if (!error && proxy_) close(false);
  });
  discard_what_comes();
}

void Connection::discard_what_comes() {
  for (int times = 0; client_.readable(); ++times) {
    if (times == 16) return engine_.readiness.again(client_);
    const auto got = client_.read(engine_.buffer.data(), engine_.buffer.size());
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return close(false);
  }
}

// The other side learns of it as it happened.
void Connection::broken(Socket& gone) {
  gone.close();
  close(true);
}

void Connection::close(bool reset) {
  const auto keep = shared_from_this();
  if (resolver_) resolver_->cancel();
  if (patience_) patience_->cancel();
  for (auto* socket : {&client_, &server_})
    if (socket->is_open()) reset ? socket->reset() : socket->close();
  up_.stop();
  down_.stop();
  leave();
}

bool Connection::is_carrying() {
  constexpr std::uint32_t moment_ms = 1000;
  for (auto* socket : {&client_, &server_}) {
    tcp_info info{};
    socklen_t size = sizeof info;
    int unsent = 0;
    if (!socket->is_open() || ::getsockopt(socket->fd(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    if (::ioctl(socket->fd(), SIOCOUTQ, &unsent) == 0 && unsent > 0) return true;
    if (info.tcpi_last_data_recv < moment_ms) return true;
  }
  return false;
}

void Connection::leave() {
  if (!proxy_) return;
  auto* proxy = std::exchange(proxy_, nullptr);
  --proxy->statistics_.open;
  proxy->connections_.erase(shared_from_this());
}

}  // namespace squall::proxy
