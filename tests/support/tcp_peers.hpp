// TCP servers and clients of a test's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "injector/system/process.hpp"

namespace squall::testing {

// Sends back what it gets, over TCP, on every address of the namespace it is made in, as long as the process
// lives.
class TcpEcho {
 public:
  explicit TcpEcho(std::uint16_t port);
};
std::function<std::shared_ptr<void>()> echo_at(std::uint16_t port);

// A blocking connection that waits 5 s for everything, or so long.
class Client {
 public:
  Client(const std::string& address, std::uint16_t port, int patience_ms = 5000);
  int fd() const { return socket_.get(); }
  void send(const std::string& text);
  void send_no_more();
  void reset();
  // "" at the end, or where it broke: then `error` says how.
  std::string receive(std::size_t size);
  // -1 where no answer came.
  double round_trip_ms();
  int error = 0;

 private:
  Fd socket_;
};

// What a process in a cgroup of its own measures; -2 where it cannot.
double in_cgroup(const std::string& folder, const std::function<double()>& measure);

}  // namespace squall::testing
