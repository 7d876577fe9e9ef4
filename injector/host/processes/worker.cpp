#include "injector/host/processes/worker.hpp"

#include <charconv>
#include <csignal>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall {

void Worker::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    throw std::system_error(errno, std::generic_category(), "make a pipe");
  from_ = Fd{ends[0]};
  Fd to{ends[1]};
  std::vector<const char*> command{"squall-injector", "worker"};
  for (auto& one : arguments_)
    command.push_back(one.c_str());
  command.push_back(nullptr);
  const auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "start a worker");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);  // it died before that
  ::setsid();  // signals of a terminal are not for it; a session has its own autogroup
  ::dup2(to.get(), STDOUT_FILENO);
  if (const int nothing = ::open("/dev/null", O_RDWR); nothing >= 0) {
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(nothing, STDERR_FILENO);
  }
  ::close_range(3, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv("/proc/self/exe", const_cast<char* const*>(command.data()));
  ::_exit(127);
}

void Worker::end() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

bool Worker::alive() const {
  const auto stat = pid_ > 0 ? read_process_stat(pid_) : std::nullopt;
  return stat && !stat->ended();
}

std::vector<std::int64_t> Worker::heard() {
  std::vector<std::int64_t> out;
  char chunk[4096];
  for (ssize_t got; from_ && (got = ::read(from_.get(), chunk, sizeof chunk)) > 0;)
    text_.append(chunk, static_cast<std::size_t>(got));
  for (std::size_t end; (end = text_.find('\n')) != std::string::npos; text_.erase(0, end + 1)) {
    std::int64_t value = 0;
    if (std::from_chars(text_.data(), text_.data() + end, value).ec == std::errc{}) out.push_back(value);
  }
  return out;
}

void start_worker(Transaction& transaction, Worker& worker, const std::string& what) {
  Change change;
  change.what = what;
  change.undo_note = "ends with this fault, and by the kernel as soon as the injector is gone";
  change.act = [&worker] { worker.start(); };
  change.release = [&worker] {
    worker.end();
    return Undone{};
  };
  transaction.add(std::move(change));
}

}  // namespace squall
