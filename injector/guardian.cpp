#include "injector/guardian.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <fmt/format.h>

#include "injector/journal.hpp"

extern char** environ;

namespace squall {
namespace {

pid_t start(const std::vector<std::string>& command, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A session of its own: a closed terminal or a signal to our process group does not reach it.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) throw std::runtime_error(fmt::format("start the guardian: {}", std::strerror(error)));
  return pid;
}

}  // namespace

Guardian::Guardian(const std::string& journal) {
  int beats[2], armed[2];
  if (::pipe2(beats, O_CLOEXEC) != 0) throw std::runtime_error("start the guardian: make a pipe");
  Fd beats_read{beats[0]};
  pipe_ = Fd{beats[1]};
  if (::pipe2(armed, O_CLOEXEC) != 0) throw std::runtime_error("start the guardian: make a pipe");
  Fd armed_read{armed[0]}, armed_write{armed[1]};
  const auto self = read_process_stat(::getpid());
  pid_ = start({"squall-injector", "guardian", "--journal", journal, "--pid", std::to_string(::getpid()), "--ticks",
                std::to_string(self ? self->start_ticks : 0)},
               beats_read.get(), armed_write.get());
  armed_write.reset();
  auto stat = read_process_stat(pid_);
  if (stat) pidfd_ = open_process(pid_, stat->start_ticks);
  pollfd ready{armed_read.get(), POLLIN, 0};
  char byte = 0;
  if (!pidfd_ || ::poll(&ready, 1, 5000) != 1 || ::read(armed_read.get(), &byte, 1) != 1)
    throw std::runtime_error("start the guardian: it did not arm within 5 s");
  ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
}

Guardian::~Guardian() {
  pipe_.reset();
  if (pid_ > 0 && pidfd_ && wait_for_end(pidfd_, 2000)) ::waitpid(pid_, nullptr, WNOHANG);
}

void Guardian::beat(bool in_force) {
  const char byte = in_force ? 'f' : 'i';
  [[maybe_unused]] auto ignored = ::write(pipe_.get(), &byte, 1);
}

bool Guardian::alive() const {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  return pidfd_ && ::poll(&ended, 1, 0) == 0;
}

int guard(const std::string& path, pid_t injector, std::uint64_t start_ticks) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  ::prctl(PR_SET_NAME, "squall-guardian");
  auto pidfd = open_process(injector, start_ticks);
  if (!pidfd) return 5;
  if (::write(STDOUT_FILENO, "!", 1) != 1) return 5;
  ::close(STDOUT_FILENO);
  ::open("/dev/null", O_WRONLY);
  bool in_force = false;
  auto last_beat = monotonic_ns();
  for (;;) {
    pollfd events[2] = {{pidfd.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const int ready = ::poll(events, 2, in_force ? 500 : -1);
    if (ready < 0 && errno != EINTR) return 5;
    if (events[0].revents) break;
    if (ready > 0 && events[1].revents) {
      char beats[256];
      const auto got = ::read(STDIN_FILENO, beats, sizeof beats);
      if (got == 0) break;  // closed in order, or dead: the journal knows what is left
      if (got > 0) in_force = beats[got - 1] == 'f';
      last_beat = monotonic_ns();
    }
    if (in_force && monotonic_ns() - last_beat > heartbeat_patience_ns) {
      signal_process(pidfd, SIGKILL);
      break;
    }
  }
  // Nobody acts on the host beside us: what was not dead is waited for, and killed when it does not go.
  if (auto journal = read_journal(path); journal && !journal->open.empty()) {
    if (!wait_for_end(pidfd, 200)) {
      signal_process(pidfd, SIGKILL);
      wait_for_end(pidfd, 5000);
    }
    journal = read_journal(path);
    return journal && !carry_out(*journal).empty() ? 6 : 0;
  }
  if (auto journal = read_journal(path); journal && wait_for_end(pidfd, 200)) ::unlink(path.c_str());
  return 0;
}

}  // namespace squall
