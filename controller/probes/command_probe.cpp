#include <cctype>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "controller/probes/kinds.hpp"

namespace squall {
namespace {

// Starts /bin/sh in a process group of its own, with nothing of ours but standard error. Returns errno's
// value.
int spawn_shell(const std::string& command, int standard_error, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, standard_error, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "sh", option = "-c", line = command;
  char* argv[] = {shell.data(), option.data(), line.data(), nullptr};
  const int failed = posix_spawn(&pid, "/bin/sh", &files, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return failed;
}

// A running command. Whoever waits for it may go away: it is reaped all the same, as soon as it has ended.
class Child : public std::enable_shared_from_this<Child> {
 public:
  using Ended = std::function<void(const siginfo_t&, const std::string& complaint)>;

  explicit Child(boost::asio::io_context& loop)
      : ends_(loop), standard_error_(memfd_create("squall-probe", MFD_CLOEXEC)) {}
  ~Child() {
    if (standard_error_ >= 0) ::close(standard_error_);
  }

  // Throws std::runtime_error where it cannot be started.
  void start(const std::string& command, Ended ended) {
    if (const int failed = spawn_shell(command, standard_error_, pid_)) give_up("start /bin/sh", failed);
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (fd < 0) {
      const int failed = errno;
      kill_group();
      ::waitpid(pid_, nullptr, 0);
      give_up("open a pidfd", failed);
    }
    ended_ = std::move(ended);
    ends_.assign(fd);
    ends_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& failed) {
                       if (!failed) self->reap();
                     });
  }

  void abandon() {
    ended_ = nullptr;
    kill_group();
  }

 private:
  [[noreturn]] static void give_up(const char* attempt, int error) {
    throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(error)));
  }

  // As long as the leader is not reaped, its number is not given to another group.
  void kill_group() const {
    if (pid_ > 0) ::kill(-pid_, SIGKILL);
  }

  void reap() {
    kill_group();  // what it left behind in the background
    siginfo_t how{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED);
    pid_ = -1;
    if (auto ended = std::exchange(ended_, nullptr)) ended(how, complaint());
  }

  // The last line on standard error that says something.
  std::string complaint() const {
    char text[512];
    const off_t size = ::lseek(standard_error_, 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(sizeof text));
    const ssize_t got = ::pread(standard_error_, text, sizeof text, from);
    std::string_view rest(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.back())))
      rest.remove_suffix(1);
    return std::string(rest.substr(rest.rfind('\n') + 1)).substr(0, 160);
  }

  boost::asio::posix::stream_descriptor
      ends_;  // a pidfd: readable when the process has ended (pidfd_open(2))
  int standard_error_;
  pid_t pid_ = -1;
  Ended ended_;
};

class CommandQuestion : public Question {
 public:
  CommandQuestion(boost::asio::io_context& loop, Done done)
      : Question(std::move(done)), child_(std::make_shared<Child>(loop)) {}
  ~CommandQuestion() override { child_->abandon(); }

  void start(const std::string& command) {
    child_->start(command, while_asked([this](const siginfo_t& how, const std::string& complaint) {
                    if (how.si_code == CLD_EXITED && how.si_status == 0) return succeed();
                    std::string error = how.si_code == CLD_EXITED
                                            ? fmt::format("exit code {}", how.si_status)
                                            : fmt::format("killed by signal {}", how.si_status);
                    fail(complaint.empty() ? error : error + ": " + complaint);
                  }));
  }

 private:
  std::shared_ptr<Child> child_;
};

class CommandProbe : public Probe {
 public:
  CommandProbe(boost::asio::io_context& loop, std::string command)
      : loop_(loop), command_(std::move(command)) {}

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<CommandQuestion>(loop_, std::move(done));
    question->start(command_);
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  std::string command_;
};

}  // namespace

std::unique_ptr<Probe> command_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  return std::make_unique<CommandProbe>(loop, spec.object);
}

}  // namespace squall
