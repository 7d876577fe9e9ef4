#include "tests/support/own_network.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::testing {

namespace {

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  int family() const { return storage.ss_family; }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address address_of(const std::string& text, std::uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  } else {
    throw std::runtime_error("not an address: " + text);
  }
  return out;
}

int own_namespace() {
  return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

void in_namespace(int fd, const std::function<void()>& act) {
  std::exception_ptr thrown;
  std::thread{[&] {
    try {
      if (::setns(fd, CLONE_NEWNET) != 0) throw std::runtime_error("setns");
      act();
    } catch (...) {
      thrown = std::current_exception();
    }
  }}.join();
  if (thrown) std::rethrow_exception(thrown);
}

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

std::string shell(const std::string& command) {
  auto* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) throw std::runtime_error("popen");
  std::string out;
  std::array<char, 4096> part;
  while (auto got = std::fread(part.data(), 1, part.size(), pipe))
    out.append(part.data(), got);
  if (const int status = ::pclose(pipe); status != 0) throw std::runtime_error(command + ": " + out);
  return out;
}

OwnNetwork::OwnNetwork() : before_(own_namespace()) {
  std::thread{[this] {
    check(::unshare(CLONE_NEWNET) == 0, "unshare");
    other_ = own_namespace();
  }}.join();
  check(::unshare(CLONE_NEWNET) == 0, "unshare");
  shell("ip link set lo up; ip link add sqa type veth peer name sqb");
  // ip(8) takes a pid for the namespace to move to; a thread's id is one.
  std::atomic<int> thread_id = 0;
  std::atomic<bool> moved = false;
  std::thread holder{[&] {
    ::setns(other_, CLONE_NEWNET);
    thread_id = ::gettid();
    while (!moved)
      ::usleep(1000);
  }};
  while (!thread_id)
    ::usleep(1000);
  try {
    shell("ip link set sqb netns /proc/" + std::to_string(::getpid()) + "/task/" +
          std::to_string(thread_id.load()) + "/ns/net");
  } catch (...) {
    moved = true;
    holder.join();
    throw;
  }
  moved = true;
  holder.join();
  shell("ip addr add 10.99.0.1/24 dev sqa && ip addr add fd99::1/64 dev sqa nodad && ip link set sqa up");
  at_the_other_end([] {
    shell(
        "ip link set lo up; ip addr add 10.99.0.2/24 dev sqb && ip addr add fd99::2/64 dev sqb nodad && ip "
        "link set sqb up");
  });
}

OwnNetwork::~OwnNetwork() {
  ::setns(before_, CLONE_NEWNET);
  ::close(before_);
  ::close(other_);
}

void OwnNetwork::at_the_other_end(const std::function<void()>& act) const {
  in_namespace(other_, act);
}

void OwnNetwork::go_to_the_other_end() const {
  check(::setns(other_, CLONE_NEWNET) == 0, "setns");
}

UdpEcho::UdpEcho(std::uint16_t port) : socket_(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  const int no = 0, size = 8 << 20;
  ::setsockopt(socket_, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  check(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
  thread_ = std::thread{[this] {
    std::array<char, 2048> data;
    while (!stop_) {
      pollfd ready{socket_, POLLIN, 0};
      if (::poll(&ready, 1, 50) != 1) continue;
      sockaddr_storage from{};
      socklen_t size_of_from = sizeof from;
      const auto got =
          ::recvfrom(socket_, data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&from), &size_of_from);
      if (got > 0)
        ::sendto(socket_, data.data(), static_cast<std::size_t>(got), 0, reinterpret_cast<sockaddr*>(&from),
                 size_of_from);
    }
  }};
}

UdpEcho::~UdpEcho() {
  stop_ = true;
  thread_.join();
  ::close(socket_);
}

ServerProcess::ServerProcess(const std::function<std::shared_ptr<void>()>& start,
                             const std::string& cgroup_folder) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int procs =
        cgroup_folder.empty() ? -1 : ::open((cgroup_folder + "/cgroup.procs").c_str(), O_WRONLY);
    if (!cgroup_folder.empty() && ::write(procs, "0", 1) != 1) ::_exit(1);
    const auto kept = start();
    if (::write(ready[1], "!", 1) != 1) ::_exit(1);
    for (;;)
      ::pause();
  }
  ::close(ready[1]);
  char byte = 0;
  const bool there = ::read(ready[0], &byte, 1) == 1;
  ::close(ready[0]);
  if (!there) throw std::runtime_error("the server does not start");
}

ServerProcess::~ServerProcess() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

OwnGroup::OwnGroup(const std::string& name)
    : folder(fmt::format("{}/squall-test-{}{}",
                         std::filesystem::exists("/sys/fs/cgroup/unified/cgroup.procs")
                             ? "/sys/fs/cgroup/unified"
                             : "/sys/fs/cgroup",
                         ::getpid(), name)) {
  std::filesystem::create_directory(folder);
}
OwnGroup::~OwnGroup() {
  ::rmdir(folder.c_str());
}

TimerLateness::TimerLateness() {
  thread_ = std::thread{[this] {
    while (!stop_) {
      const auto until = now_ns() + 10'000'000;
      const timespec at{until / 1'000'000'000, until % 1'000'000'000};
      ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
      late_ms_.push_back(static_cast<double>(now_ns() - until) / 1e6);
    }
  }};
}

TimerLateness::~TimerLateness() {
  most_ms();
}

double TimerLateness::most_ms(double share) {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  std::sort(late_ms_.begin(), late_ms_.end());
  return late_ms_[static_cast<std::size_t>(share * static_cast<double>(late_ms_.size() - 1))];
}

double Pings::quantile(double share) const {
  if (round_trips_ms.empty()) return -1;
  auto sorted = round_trips_ms;
  std::sort(sorted.begin(), sorted.end());
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

namespace {

struct Datagram {
  std::uint32_t number;
  std::int64_t sent;
};

class PingClient {
 public:
  PingClient(const std::string& address, std::uint16_t port, unsigned count) {
    out.answered.resize(count);
    auto to = address_of(address, port);
    socket_ = ::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int size = 16 << 20;
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    check(::connect(socket_, to.get(), to.size) == 0, "connect");
  }
  ~PingClient() { ::close(socket_); }

  void send(unsigned number) {
    const Datagram datagram{number, now_ns()};
    if (::send(socket_, &datagram, sizeof datagram, 0) == sizeof datagram) ++out.sent;
  }

  // True where an answer came within the time.
  bool receive(std::int64_t until) {
    const auto left = until - now_ns();
    const timespec patience{left > 0 ? left / 1'000'000'000 : 0, left > 0 ? left % 1'000'000'000 : 0};
    pollfd ready{socket_, POLLIN, 0};
    if (::ppoll(&ready, 1, &patience, nullptr) != 1) return false;
    Datagram datagram{};
    if (::recv(socket_, &datagram, sizeof datagram, MSG_DONTWAIT) != sizeof datagram ||
        datagram.number >= out.answered.size())
      return true;
    const auto now = now_ns();
    const bool again = out.answered[datagram.number];
    out.answered[datagram.number] = true;
    if (again) {
      ++out.duplicates;
      return true;
    }
    if (!out.round_trips_ms.empty() && datagram.number < highest_) ++out.reordered;
    highest_ = std::max(highest_, datagram.number);
    out.round_trips_ms.push_back(static_cast<double>(now - datagram.sent) / 1e6);
    return true;
  }

  Pings out;

 private:
  int socket_;
  std::uint32_t highest_ = 0;
};

}  // namespace

Pings ping(const std::string& address, std::uint16_t port, unsigned count, unsigned gap_us, int patience_ms) {
  PingClient client{address, port, count};
  auto next = now_ns();
  for (unsigned i = 0; i < count; ++i) {
    client.send(i);
    next += gap_us * 1000LL;
    while (now_ns() < next)
      client.receive(next);
  }
  while (client.out.round_trips_ms.size() < count && client.receive(now_ns() + patience_ms * 1'000'000LL))
    continue;
  return client.out;
}

double tcp_mbit_per_second(const OwnNetwork& network, const std::string& address, double seconds) {
  int listener = -1;
  auto at = address_of(address, 0);
  auto listen = [&] {
    listener = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(::bind(listener, at.get(), at.size) == 0 && ::listen(listener, 1) == 0, "listen");
    ::getsockname(listener, at.get(), &at.size);
  };
  const bool local = address.starts_with("127.") || address == "::1";
  if (local)
    listen();
  else
    network.at_the_other_end(listen);
  std::atomic<std::uint64_t> received = 0;
  std::thread reader{[&] {
    const int connection = ::accept(listener, nullptr, nullptr);
    std::vector<char> buffer(1 << 18);
    for (ssize_t got; (got = ::read(connection, buffer.data(), buffer.size())) > 0;)
      received += static_cast<std::uint64_t>(got);
    ::close(connection);
  }};
  const int sender = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(::connect(sender, at.get(), at.size) == 0, "connect");
  const std::vector<char> buffer(1 << 18);
  const auto begin = now_ns(), end = begin + static_cast<std::int64_t>(seconds * 1e9);
  while (now_ns() < end) {
    pollfd ready{sender, POLLOUT, 0};
    if (::poll(&ready, 1, 100) == 1) ::send(sender, buffer.data(), buffer.size(), MSG_DONTWAIT);
  }
  const double mbit = static_cast<double>(received) * 8 / 1e6 / (static_cast<double>(now_ns() - begin) / 1e9);
  ::shutdown(sender, SHUT_RDWR);
  ::close(sender);
  reader.join();
  ::close(listener);
  return mbit;
}

}  // namespace squall::testing
