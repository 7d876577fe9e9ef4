#include "tests/support/tcp_peers.hpp"

#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::testing {

TcpEcho::TcpEcho(std::uint16_t number) {
  const int socket = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_port = htons(number);
  if (::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(socket, 4096) != 0)
    throw std::runtime_error("listen");
  std::thread{[socket] {
    for (;;) {
      const int client = ::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      std::thread{[client] {
        char text[4096];
        for (ssize_t got; (got = ::recv(client, text, sizeof text, 0)) > 0;)
          if (::send(client, text, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
        ::close(client);
      }}.detach();
    }
  }}.detach();
}

std::function<std::shared_ptr<void>()> echo_at(std::uint16_t number) {
  return [number] { return std::make_shared<TcpEcho>(number); };
}

Client::Client(const std::string& address, std::uint16_t number, int patience_ms) {
  const bool v6 = address.find(':') != std::string::npos;
  socket_ = Fd{::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const timeval patience{patience_ms / 1000, 1000 * (patience_ms % 1000)};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);  // connect too
  sockaddr_storage to{};
  if (v6) {
    auto& in = reinterpret_cast<sockaddr_in6&>(to);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(number);
    const auto zone = std::min(address.find('%'), address.size());
    ::inet_pton(AF_INET6, address.substr(0, zone).c_str(), &in.sin6_addr);
    if (zone < address.size()) in.sin6_scope_id = ::if_nametoindex(address.c_str() + zone + 1);
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(to);
    in.sin_family = AF_INET;
    in.sin_port = htons(number);
    ::inet_pton(AF_INET, address.c_str(), &in.sin_addr);
  }
  if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&to),
                v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)) != 0)
    error = errno;
}

void Client::send(const std::string& text) {
  ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
}
void Client::send_no_more() {
  ::shutdown(socket_.get(), SHUT_WR);
}
void Client::reset() {
  const linger at_once{1, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  socket_.reset();
}

std::string Client::receive(std::size_t size) {
  std::string out(size, 0);
  const auto got = ::recv(socket_.get(), out.data(), size, MSG_WAITALL);
  if (got < 0) error = errno;
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return out;
}

double Client::round_trip_ms() {
  const auto begin = std::chrono::steady_clock::now();
  send("ping");
  if (receive(4) != "ping") return -1;
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double in_cgroup(const std::string& folder, const std::function<double()>& measure) {
  int answer[2];
  if (::pipe2(answer, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int procs = ::open((folder + "/cgroup.procs").c_str(), O_WRONLY);
    if (::write(procs, "0", 1) != 1) ::_exit(1);
    const double out = measure();
    ::_exit(::write(answer[1], &out, sizeof out) == sizeof out ? 0 : 1);
  }
  ::close(answer[1]);
  double out = -2;
  if (::read(answer[0], &out, sizeof out) != sizeof out) out = -2;
  ::close(answer[0]);
  ::waitpid(pid, nullptr, 0);
  return out;
}

}  // namespace squall::testing
