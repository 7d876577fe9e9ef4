#include "injector/host/process.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>

#include <poll.h>
#include <sys/syscall.h>

#include <fmt/format.h>

namespace squall {

std::optional<ProcessStat> read_process_stat(pid_t pid) {
  std::ifstream file{fmt::format("/proc/{}/stat", pid)};
  std::string text;
  if (!std::getline(file, text)) return {};
  const auto end = text.rfind(')');  // the name may hold blanks and brackets itself
  if (end == std::string::npos) return {};
  std::istringstream rest{text.substr(end + 1)};
  ProcessStat stat;
  std::string skipped;
  std::uint64_t flags = 0;
  rest >> stat.state >> stat.parent;
  for (int field = 5; field <= 8; ++field) rest >> skipped;
  rest >> flags;  // field 9; PF_KTHREAD is 0x00200000
  for (int field = 10; field <= 21; ++field) rest >> skipped;
  rest >> stat.start_ticks;
  stat.kernel_thread = flags & 0x00200000;
  if (!rest) return {};
  return stat;
}

Fd open_process(pid_t pid, std::uint64_t start_ticks) {
  Fd fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!fd) return fd;
  // The pidfd pins the process; only now is its start time that of the process we hold.
  auto stat = read_process_stat(pid);
  if (!stat || stat->start_ticks != start_ticks || stat->state == 'Z') return Fd{};
  return fd;
}

int signal_process(const Fd& pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0 ? 0 : errno;
}

bool wait_for_end(const Fd& pidfd, int milliseconds) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  const auto until = monotonic_ns() + milliseconds * 1'000'000LL;
  for (;;) {
    const auto left = (until - monotonic_ns()) / 1'000'000;
    const int ready = ::poll(&ended, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
  }
}

std::string boot_id() {
  std::ifstream file{"/proc/sys/kernel/random/boot_id"};
  std::string id;
  std::getline(file, id);
  return id;
}

namespace {
std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}
}  // namespace

std::int64_t wall_ns() { return clock_ns(CLOCK_REALTIME); }
std::int64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

}  // namespace squall
