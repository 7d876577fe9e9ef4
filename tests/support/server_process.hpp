// Real servers of this machine for tests: each on a free loopback port, with its files in a directory of its
// own, stopped by its pid. They die with the test (prctl(2), PR_SET_PDEATHSIG).
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace squall::test {

// A new directory under the system's temporary one, removed at the end with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }
  // Writes a file into it and returns its path.
  std::filesystem::path write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

// A TCP port of 127.0.0.1 that nobody listens on at this moment (and no UDP socket is bound to).
std::uint16_t free_port();

// True where a TCP connection to 127.0.0.1 succeeds.
bool port_answers(std::uint16_t port);

// Runs a program to its end; throws std::runtime_error with its output where that is not exit code 0.
// Returns its output.
std::string run(const std::vector<std::string>& command);

// One server: started by the constructor, which returns when its port answers.
class ServerProcess {
 public:
  struct Start {
    std::vector<std::string> command;
    std::uint16_t port = 0;
    std::string user;  // where the test runs as root
    int stop_signal = SIGTERM;
    std::chrono::seconds patience{20};
  };

  // Throws std::runtime_error with the server's output where it ends early or does not answer in time.
  explicit ServerProcess(Start);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  std::uint16_t port() const { return start_.port; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
  std::string output() const;
  // Asks it to end, waits for that, and kills it where that takes longer than 10 s. Does nothing the second
  // time.
  void stop();
  void signal(int number) const;

 private:
  bool ended();
  void wait_until_ready();

  TemporaryDirectory directory_;
  Start start_;
  pid_t pid_ = -1;
};

}  // namespace squall::test
