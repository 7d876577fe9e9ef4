// What tests of network.partition and network.reset have at the other end, and look with.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <thread>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "injector/host/rules/nftables.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/process.hpp"
#include "injector/system/targets.hpp"
#include "tests/support/own_names.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall::testing {

constexpr std::uint16_t port = 7007, other_port = 7008;

inline sockaddr_in at(const char* address, std::uint16_t number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(number);
  ::inet_pton(AF_INET, address, &out.sin_addr);
  return out;
}

// A TCP server at the other end that accepts one connection after another and keeps them.
class Listener {
 public:
  explicit Listener(std::uint16_t number) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto address = at("0.0.0.0", number);
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket_.get(), 16) != 0)
      throw std::runtime_error("listen");
  }
  Fd accept() { return Fd{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)}; }

 private:
  Fd socket_;
};

// 0, or the error of connecting within the time; ETIMEDOUT where there was no answer.
inline int connect_error(const char* address, std::uint16_t number, int milliseconds = 300,
                         Fd* keep = nullptr) {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const auto to = at(address, number);
  int error = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd ready{socket.get(), POLLOUT, 0};
    if (::poll(&ready, 1, milliseconds) != 1) return ETIMEDOUT;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (keep) *keep = std::move(socket);
  return error;
}

class NetworkPartition : public ::testing::Test {
 protected:
  OwnNetwork network;
  std::unique_ptr<UdpEcho> far, far_other;
  std::unique_ptr<Listener> server;

  void SetUp() override {
    network.at_the_other_end([&] {
      far = std::make_unique<UdpEcho>(port);
      far_other = std::make_unique<UdpEcho>(other_port);
      server = std::make_unique<Listener>(port);
    });
  }
  RunFault partition(boost::json::object with, const char* on = "sqa") const {
    return RunFault{"network.partition", with, {{"interface", on}}};
  }
  static unsigned answered(const char* address, std::uint16_t to) {
    const auto seen = ping(address, to, 20, 500, 100);
    return seen.sent - seen.lost();
  }
};

}  // namespace squall::testing
