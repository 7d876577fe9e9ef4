// Child processes: the injector, or what carries it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace squall {

// Both ends of a pipe(2), closed with it unless taken.
struct Pipe {
  int read = -1, write = -1;
  Pipe();  // throws std::runtime_error
  Pipe(const Pipe&) = delete;
  ~Pipe();
  static int take(int& end) { return std::exchange(end, -1); }
};

// Starts a command with the given ends as its stdio (-1: ours). Its own process group, so that Ctrl-C on the
// terminal reaches squall alone, which then undoes in order. Throws std::runtime_error naming the command.
pid_t spawn(const std::vector<std::string>& command, int in, int out, int err);

// Runs a command to its end and collects what it printed; for the injector's one-shot verbs.
struct Finished {
  int exit_code = -1;  // 128 + N where signal N ended it
  bool late = false;   // it was ended since it took longer than it may
  std::string out, err;
};
Finished run_to_end(const std::vector<std::string>& command);

}  // namespace squall
