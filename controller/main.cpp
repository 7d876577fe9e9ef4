#include <csignal>

#include "controller/commands/command_line.hpp"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // an injector that dies is told by its link, not by a signal
  return squall::command_line(argc, argv);
}
