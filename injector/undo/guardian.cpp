#include "injector/undo/guardian.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <fmt/format.h>

#include "injector/system/descriptor_limit.hpp"
#include "injector/system/host_log.hpp"
#include "injector/system/passed_descriptor.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/suspended.hpp"
#include "injector/undo/carry_out.hpp"

extern char** environ;

namespace squall {
namespace {

constexpr int armed_within_ms = 30'000;
constexpr char armed_byte = '!';

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
  for (auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) throw std::runtime_error(fmt::format("start the guardian: {}", std::strerror(error)));
  restore_descriptor_limit(pid);
  return pid;
}

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::runtime_error(fmt::format("start the guardian: make a pipe: {}", std::strerror(errno)));
  return {Fd{ends[0]}, Fd{ends[1]}};
}

std::pair<Fd, Fd> make_socket() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::runtime_error(fmt::format("start the guardian: make a socket: {}", std::strerror(errno)));
  return {Fd{ends[0]}, Fd{ends[1]}};
}

int periods_of_patience(Beat beat) {
  return beat == Beat::busy ? 20 : 4;
}

// True when the injector is dead, dying, or was killed because it hangs; false when it has let go in order.
// `journal` is the last one that it was given to hold.
bool watch(const Fd& injector, Fd& journal) {
  auto beat = Beat::idle;
  int silent = 0;
  for (;;) {
    pollfd events[2] = {{injector.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const int ready = ::poll(events, 2, beat == Beat::idle ? -1 : beat_period_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return true;
    // Silence is counted in our own naps, not in time: when the whole machine stood still, so did we.
    silent = ready == 0 ? silent + 1 : 0;
    if (events[1].revents) {
      char beats[256];
      const auto got = receive_with_descriptor(STDIN_FILENO, beats, journal);
      if (got <= 0) return true;
      beat = static_cast<Beat>(beats[got - 1]);
      if (beat == Beat::over) return false;
    } else if (events[0].revents) {
      return true;
    } else if (silent >= periods_of_patience(beat)) {
      signal_process(injector, SIGKILL);
      return true;
    }
  }
}

// Memory faults and real shortages must not take the one who undoes them. Needs CAP_SYS_RESOURCE; nice to
// have.
void be_spared_by_the_oom_killer() {
  try {
    write_file("/proc/self/oom_score_adj", "-900", "");
  } catch (const std::exception&) {
  }
}

}  // namespace

Guardian::Guardian(const std::string& journal) {
  auto [beats, beats_in] = make_socket();
  auto [armed, armed_in] = make_pipe();
  const auto self = read_process_stat(::getpid());
  std::vector<std::string> command{"squall-injector", "guardian",
                                   "--journal",       journal,
                                   "--pid",           std::to_string(::getpid()),
                                   "--ticks",         std::to_string(self ? self->start_ticks : 0)};
  for (auto& word : log_arguments())
    command.push_back(std::move(word));
  pid_ = start(command, beats.get(), armed_in.get());
  socket_ = std::move(beats_in);
  armed_in.reset();
  if (auto stat = read_process_stat(pid_)) pidfd_ = open_process(pid_, stat->start_ticks);
  pollfd ready{armed.get(), POLLIN, 0};
  char byte = 0;
  if (!pidfd_ || ::poll(&ready, 1, armed_within_ms) != 1 || ::read(armed.get(), &byte, 1) != 1 ||
      byte != armed_byte) {
    if (pidfd_) signal_process(pidfd_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    throw std::runtime_error("start the guardian: it did not arm");
  }
  ::fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
}

Guardian::~Guardian() {
  beat(Beat::over);
  socket_.reset();
  if (wait_for_end(pidfd_, 2000)) ::waitpid(pid_, nullptr, WNOHANG);
}

void Guardian::beat(Beat beat) {
  const auto byte = static_cast<char>(beat);
  last_ = beat;
  ::send(socket_.get(), &byte, 1, MSG_NOSIGNAL);
}

void Guardian::hold(int journal) {
  if (!send_descriptor(socket_.get(), static_cast<char>(last_), journal))
    throw std::runtime_error(fmt::format("hand the undo journal to the guardian: {}", std::strerror(errno)));
}

bool Guardian::alive() const {
  return !wait_for_end(pidfd_, 0);
}

int guard(const std::string& path, pid_t injector, std::uint64_t start_ticks) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
    std::signal(signal, SIG_IGN);
  ::prctl(PR_SET_NAME, "squall-guardian");
  be_spared_by_the_oom_killer();
  const auto pidfd = open_process(injector, start_ticks);
  if (!pidfd || ::write(STDOUT_FILENO, &armed_byte, 1) != 1) return 5;
  log_line(LogLevel::debug, fmt::format("guards squall-injector[{}]", injector));
  ::close(STDOUT_FILENO);
  ::open("/dev/null", O_WRONLY);
  Fd journal;
  if (!watch(pidfd, journal)) return 0;
  log_line(LogLevel::warning,
           fmt::format("squall-injector[{}] died or hangs: what it has changed is put back", injector));
  // Its end of the pipe is closed: it is dying. Nobody may act on the host beside us.
  if (!wait_for_end(pidfd, 200)) {
    signal_process(pidfd, SIGKILL);
    if (!wait_for_end(pidfd, 500)) leave_frozen_group(injector);
    wait_for_end(pidfd, 5000);
  }
  const bool clean = (journal ? carry_out_journal(journal, path) : carry_out_journal(path)).empty();
  ::unlink((path + ".new").c_str());  // where the injector died while it made the journal
  return clean ? 0 : 6;
}

}  // namespace squall
