// Processes by an identity that is never reused: the pid with its start time, and a pidfd (pidfd_open(2)).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>
#include <unistd.h>

namespace squall {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// A pidfd of the process with this start time; empty where it does not exist (any more).
Fd open_process(pid_t, std::uint64_t start_ticks);
// pidfd_send_signal(2): 0, or an errno.
int signal_process(const Fd& pidfd, int signal);
// Waits until the process has ended; false where it has not after so long.
bool wait_for_end(const Fd& pidfd, int milliseconds);

// Field 22 of /proc/PID/stat and the state letter of field 3; nothing where there is no such process.
struct ProcessStat {
  std::uint64_t start_ticks = 0;  // since boot, in ticks of sysconf(_SC_CLK_TCK)
  char state = '?';
  pid_t parent = 0;
  bool kernel_thread = false;
  int threads = 1;
  // One whose first thread has ended looks like a zombie and lives on in the others.
  bool first_thread_ended() const { return state == 'Z' || state == 'X'; }
  bool ended() const { return first_thread_ended() && threads <= 1; }
};
std::optional<ProcessStat> read_process_stat(pid_t);
// Whose folder of /proc tells about a process: its own, or, where its first thread has ended, which has no
// files, memory and namespaces any more, that of a thread that lives (/proc/TID is there, though not listed).
pid_t live_thread(pid_t);
// A start time as CLOCK_BOOTTIME, ns; exact to one tick (10 ms).
std::int64_t boot_ns_of(std::uint64_t start_ticks);

// This process, its parent and so on up to pid 1.
std::vector<pid_t> own_line();

// /proc/sys/kernel/random/boot_id: what is remembered across reboots is told apart by it.
const std::string& boot_id();
std::int64_t wall_ns();
std::string time_of_day(std::int64_t wall_ns);  // "05:12:07 UTC"
std::int64_t monotonic_ns();
std::int64_t boottime_ns();  // goes on while the machine sleeps

}  // namespace squall
