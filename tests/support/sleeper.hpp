// A process that only sleeps, under a name of the test's choice: a copy of sleep(1), so that exe, name and
// command line are its own.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace squall::test {

class Sleeper {
 public:
  // `executable` is where the copy goes; it may be there already. In that cgroup, and with a TCP port open on
  // all addresses
  // (`on_loopback`: 127.0.0.1 alone), where they are given.
  struct Start {
    std::string executable, cgroup_folder;
    std::uint16_t port = 0;
    bool on_loopback = false;
    std::string argument = "3600";
  };
  explicit Sleeper(const Start&);
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  pid_t pid() const { return pid_; }
  bool alive();
  void kill();

 private:
  pid_t pid_ = -1;
};

// A process whose first thread has ended, with others that live on.
class WithoutFirstThread {
 public:
  explicit WithoutFirstThread(const std::string& cgroup_folder = "");
  ~WithoutFirstThread();
  WithoutFirstThread(const WithoutFirstThread&) = delete;
  pid_t pid() const { return pid_; }
  bool alive();

 private:
  pid_t pid_ = -1;
};

}  // namespace squall::test
