// Which of a proxy's sockets can be read or written (epoll(7)). Each is told to the kernel once,
// edge-triggered, and leaves by being closed; the whole set is one descriptor of the io_context's. Asio's own
// sockets take a third more system calls for a short connection: a read that finds nothing before each that
// waits, and every descriptor's way in and out of the set.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "injector/system/process.hpp"

namespace squall::proxy {

class Socket;

// Whose sockets they are.
class SocketOwner {
 public:
  virtual ~SocketOwner() = default;
  virtual std::shared_ptr<void> keep_alive() = 0;  // while it is told
  virtual void ready(Socket&) = 0;                 // can be read or written, more than it could
};

class Readiness {
 public:
  // Everything happens on the io_context's one thread. It outlives all sockets.
  explicit Readiness(boost::asio::io_context&);
  ~Readiness();
  Readiness(const Readiness&) = delete;

  // Its owner is told once more after the others had their turn: it was left while it could be read.
  void again(Socket&);

 private:
  friend class Socket;
  // Of a socket among the others; a number that was given back is not mistaken for the one that has it now.
  struct Place {
    Socket* socket = nullptr;
    std::uint32_t times = 0;
  };
  std::uint64_t enter(Socket&);
  void leave(std::uint64_t ticket);
  void tell(std::uint64_t ticket, std::uint32_t events);
  void wait();
  void turn();
  void turn_soon();

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor epoll_;
  std::vector<Place> places_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint64_t> again_;
  std::size_t watched_ = 0;
  bool waiting_ = false, posted_ = false;
  std::shared_ptr<int> alive_;
};

// One of them, which does not block; or none.
class Socket {
 public:
  using Clock = std::chrono::steady_clock;
  Socket(Readiness& set, SocketOwner& owner) : set_(set), owner_(owner) {}
  ~Socket() { close(); }
  Socket(const Socket&) = delete;

  void open(Fd);
  bool is_open() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }
  void close();
  // By a TCP reset to the peer, where it is connected (SO_LINGER, socket(7)).
  void reset();

  // From now on its owner is told, also of what is there already; of room to write from the first call that
  // wants it.
  void watch(bool writing = false);
  // Something may be there, the end and errors too.
  bool readable() const { return readable_; }
  void nothing_left() { readable_ = false; }
  bool writable() const { return writable_; }
  // recv(2). Knows of itself when all was read.
  ssize_t read(char* into, std::size_t);
  // When what was read last came, if it came after `begin` and a moment ago: by the kernel's clock, from the
  // first call on.
  ssize_t read(char* into, std::size_t, Clock::time_point begin, Clock::time_point& arrived);

 private:
  friend class Readiness;
  void was_read(ssize_t got, std::size_t wanted);
  Readiness& set_;
  SocketOwner& owner_;
  Fd fd_;
  std::uint64_t ticket_ = 0;
  std::uint32_t events_ = 0;  // that the kernel tells
  bool readable_ = false, writable_ = false, ended_ = false, stamped_ = false;
};

}  // namespace squall::proxy
