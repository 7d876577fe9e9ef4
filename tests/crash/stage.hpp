// What the examples of the catalogue can be tried on: a network, a disk, and a process that listens, all of
// our own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "injector/host/snapshot/snapshot.hpp"
#include "tests/kernel/own_disk.hpp"
#include "tests/support/own_network.hpp"

namespace squall::crash {

// One example of a fault, aimed at the stage.
struct Trial {
  std::string fault, example;
  boost::json::object with, on;
};

class Stage {
 public:
  // Visited: somebody at the other end connects to the process all the while.
  explicit Stage(bool visited);
  ~Stage();
  Stage(const Stage&) = delete;

  // Every example of every fault in the catalogue; throws std::runtime_error where one aims at what is not
  // here.
  std::vector<Trial> trials() const;
  // Sees to it that the process is there, then looks.
  HostState look();
  bool visited() const { return visited_; }

 private:
  void start_process();

  testing::OwnNetwork network_;
  testing::OwnDisk disk_;
  testing::OwnCgroup group_;
  std::optional<testing::OwnGroup>
      sockets_;  // by which the kernel knows its sockets; none where only net_cls does
  std::vector<std::string>
      limited_;  // groups of cgroup v1 with the controllers cpu and memory; v2 has one for all
  pid_t process_ = -1, visitor_ = -1;
  bool visited_;
};

}  // namespace squall::crash
