// Two network namespaces of a test's own, joined by a veth pair, and traffic to measure with.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace squall::testing {

// While it lives the calling thread is in a fresh namespace with sqa (10.99.0.1, fd99::1) and lo; at the
// other end of the veth pair sqb (10.99.0.2, fd99::2) is alone in another.
class OwnNetwork {
 public:
  OwnNetwork();
  ~OwnNetwork();
  OwnNetwork(const OwnNetwork&) = delete;
  void at_the_other_end(const std::function<void()>& act) const;
  // Of the calling thread, for good: for a process of its own.
  void go_to_the_other_end() const;

 private:
  int before_ = -1, other_ = -1;
};

// A shell command in the thread's namespace; throws std::runtime_error where it fails.
std::string shell(const std::string& command);

// Sends UDP datagrams back from where they came, on every address of the namespace it is made in.
class UdpEcho {
 public:
  explicit UdpEcho(std::uint16_t port);
  ~UdpEcho();

 private:
  int socket_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A process that serves until it goes out of scope, in a cgroup of its own where one is given. `start` is
// called in it, and what it returns is kept.
class ServerProcess {
 public:
  explicit ServerProcess(const std::function<std::shared_ptr<void>()>& start,
                         const std::string& cgroup_folder = "");
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

// A cgroup of the v2 hierarchy, removed at the end.
struct OwnGroup {
  explicit OwnGroup(const std::string& name = "");
  ~OwnGroup();
  OwnGroup(const OwnGroup&) = delete;
  const std::string folder;
};

struct Pings {
  std::vector<double> round_trips_ms;  // in the order of their answers
  std::vector<bool> answered;          // by the number of the datagram
  unsigned sent = 0, reordered = 0, duplicates = 0;
  unsigned lost() const { return sent - static_cast<unsigned>(round_trips_ms.size()); }
  double quantile(double) const;
  double median() const { return quantile(0.5); }
};

// How late timers are while it lives: what a busy machine, or an emulated processor, adds to every delay.
class TimerLateness {
 public:
  TimerLateness();
  ~TimerLateness();
  TimerLateness(const TimerLateness&) = delete;
  // Of so many of the timers no more.
  double most_ms(double share = 0.9);

 private:
  std::atomic<bool> stop_ = false;
  std::vector<double> late_ms_;
  std::thread thread_;
};

// Sends `count` datagrams, one each `gap_us`, and gathers the answers until none came for `patience_ms`.
Pings ping(const std::string& address, std::uint16_t port, unsigned count, unsigned gap_us,
           int patience_ms = 1000);

// The same over one TCP connection to a server that sends back what it gets (made by the call, in the
// thread's namespace or at the other end).
double tcp_mbit_per_second(const OwnNetwork&, const std::string& address, double seconds);

}  // namespace squall::testing
