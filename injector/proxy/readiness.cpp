#include "injector/proxy/readiness.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>

namespace squall::proxy {

namespace asio = boost::asio;

namespace {

constexpr int at_once = 256;

// How long ago the kernel's stamp was made (SO_TIMESTAMPNS, socket(7)); zero where there is none.
std::chrono::nanoseconds age(msghdr& message) {
  using std::chrono::nanoseconds, std::chrono::seconds;
  const auto* stamp = CMSG_FIRSTHDR(&message);
  if (!stamp || stamp->cmsg_level != SOL_SOCKET || stamp->cmsg_type != SCM_TIMESTAMPNS) return {};
  timespec then{}, now{};
  std::memcpy(&then, CMSG_DATA(stamp), sizeof then);
  ::clock_gettime(CLOCK_REALTIME, &now);
  return seconds{now.tv_sec - then.tv_sec} + nanoseconds{now.tv_nsec - then.tv_nsec};
}

}  // namespace

Readiness::Readiness(asio::io_context& io)
    : io_(io), epoll_(io, ::epoll_create1(EPOLL_CLOEXEC)), alive_(std::make_shared<int>()) {}

Readiness::~Readiness() = default;

std::uint64_t Readiness::enter(Socket& socket) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(places_.size()));
    places_.emplace_back();
  }
  const auto at = free_.back();
  free_.pop_back();
  auto& place = places_[at];
  place.socket = &socket;
  ++watched_;
  wait();
  return std::uint64_t{++place.times} << 32 | at;
}

void Readiness::leave(std::uint64_t ticket) {
  const auto at = static_cast<std::uint32_t>(ticket);
  places_[at].socket = nullptr;
  free_.push_back(at);
  // Whoever runs the io_context until nothing is left to do is not kept.
  if (--watched_ == 0 && waiting_) epoll_.cancel();
}

void Readiness::tell(std::uint64_t ticket, std::uint32_t events) {
  const auto& place = places_[static_cast<std::uint32_t>(ticket)];
  if (!place.socket || place.times != ticket >> 32) return;
  auto& socket = *place.socket;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket.readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket.ended_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) socket.writable_ = true;
  const auto alive = socket.owner_.keep_alive();
  socket.owner_.ready(socket);
}

void Readiness::again(Socket& socket) {
  again_.push_back(socket.ticket_);
  turn_soon();
}

void Readiness::turn_soon() {
  if (std::exchange(posted_, true)) return;
  asio::post(io_, [this, alive = std::weak_ptr{alive_}] {
    if (alive.expired()) return;
    posted_ = false;
    turn();
  });
}

void Readiness::wait() {
  if (waiting_ || posted_ || watched_ == 0) return;
  waiting_ = true;
  epoll_.async_wait(asio::posix::descriptor_base::wait_read,
                    [this, alive = std::weak_ptr{alive_}](auto error) {
                      if (alive.expired()) return;
                      waiting_ = false;
                      error ? wait() : turn();
                    });
}

void Readiness::turn() {
  std::array<epoll_event, at_once> events;
  const auto left = std::exchange(again_, {});
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), at_once, 0);
  for (int i = 0; i < count; ++i)
    tell(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
  for (const auto ticket : left)
    tell(ticket, 0);
  if (count == at_once) turn_soon();
  wait();
}

void Socket::open(Fd fd) {
  close();
  fd_ = std::move(fd);
}

void Socket::close() {
  if (ticket_) set_.leave(std::exchange(ticket_, 0));
  fd_.reset();
  events_ = 0;
  readable_ = writable_ = ended_ = stamped_ = false;
}

void Socket::reset() {
  const linger at_once_and_unsent{1, 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &at_once_and_unsent, sizeof at_once_and_unsent);
  close();
}

void Socket::watch(bool writing) {
  if (writing) writable_ = false;
  const std::uint32_t wanted = EPOLLIN | EPOLLRDHUP | EPOLLET | (writing ? EPOLLOUT : 0U) | events_;
  if (wanted == events_ || !is_open()) return;
  const bool known = ticket_ != 0;
  if (!known) ticket_ = set_.enter(*this);
  epoll_event event{wanted, {.u64 = ticket_}};
  ::epoll_ctl(set_.epoll_.native_handle(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd(), &event);
  events_ = wanted;
}

ssize_t Socket::read(char* into, std::size_t size) {
  const auto got = ::recv(fd(), into, size, MSG_DONTWAIT);
  was_read(got, size);
  return got;
}

// Less than was asked for is all there is (epoll(7)), but for the end behind it, which is told together with
// it or anew.
void Socket::was_read(ssize_t got, std::size_t wanted) {
  if (got < 0 ? errno != EINTR : static_cast<std::size_t>(got) < wanted && got > 0 && !ended_)
    readable_ = false;
}

ssize_t Socket::read(char* into, std::size_t size, Clock::time_point begin, Clock::time_point& arrived) {
  constexpr std::chrono::milliseconds moment{
      50};  // whoever sets the host's clock meanwhile changes no more than this
  if (!std::exchange(stamped_, true)) {
    const int yes = 1;
    ::setsockopt(fd(), SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
  }
  iovec buffer{into, size};
  alignas(cmsghdr) std::array<char, 256> control;
  msghdr message{.msg_name = nullptr,
                 .msg_namelen = 0,
                 .msg_iov = &buffer,
                 .msg_iovlen = 1,
                 .msg_control = control.data(),
                 .msg_controllen = control.size(),
                 .msg_flags = 0};
  const auto got = ::recvmsg(fd(), &message, MSG_DONTWAIT);
  was_read(got, size);
  arrived = Clock::now();
  const auto since = got > 0 ? age(message) : std::chrono::nanoseconds{0};
  if (since > since.zero() && since < moment) arrived = std::max(arrived - since, begin);
  return got;
}

}  // namespace squall::proxy
