// A service with a mount namespace of its own and a folder, for overlays: what is mounted there is seen
// nowhere else.
#pragma once

#include <csignal>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::testing {

class OwnMounts {
 public:
  OwnMounts() {
    char name[] = "/var/tmp/squall-overlay-XXXXXX";
    if (!::mkdtemp(name)) throw std::runtime_error("mkdtemp");
    top_ = name;
    ::chmod(name, 0755);
    std::filesystem::create_directory(folder());
    std::filesystem::create_directory(bare());
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const bool own =
          ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
      (void)!::write(ends[1], own ? "!" : "?", 1);
      for (;;)
        ::pause();
    }
    char answer = 0;
    const bool own = ::read(ends[0], &answer, 1) == 1 && answer == '!';
    ::close(ends[0]);
    ::close(ends[1]);
    if (!own) throw std::runtime_error("no mount namespace of our own");
  }
  ~OwnMounts() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    std::error_code error;
    std::filesystem::remove_all(top_, error);
  }
  OwnMounts(const OwnMounts&) = delete;

  pid_t pid() const { return pid_; }
  std::string folder() const { return top_ + "/data"; }  // what overlays are put over
  std::string bare() const { return top_ + "/bare"; }    // one beside it, to compare with

  // A process of the service: what `act` says. It is killed after so long.
  std::string inside(const std::function<std::string()>& act, int milliseconds = 20'000) const {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return "pipe";
    const auto child = begin([&] {
      const auto said = act();
      (void)!::write(ends[1], said.data(), said.size());
    });
    ::close(ends[1]);
    std::string out;
    char piece[4096];
    pollfd ready{ends[0], POLLIN, 0};
    bool in_time = false;
    while (::poll(&ready, 1, milliseconds) == 1) {
      const auto got = ::read(ends[0], piece, sizeof piece);
      if (!(in_time = got > 0)) {
        in_time = got == 0;
        break;
      }
      out.append(piece, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    if (!in_time) ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return in_time ? out : out + " (it hung)";
  }
  // The same, in the background; whoever calls this waits for it.
  pid_t begin(const std::function<void()>& act) const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int mounts = ::open(("/proc/" + std::to_string(pid_) + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC);
    if (::setns(mounts, CLONE_NEWNS) == 0) act();
    ::_exit(0);
  }

 private:
  std::string top_;
  pid_t pid_ = -1;
};

}  // namespace squall::testing
