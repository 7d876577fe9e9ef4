#include "injector/system/process.hpp"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>

#include <poll.h>
#include <sys/syscall.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall {

std::optional<ProcessStat> read_process_stat(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  const auto name_end =
      text ? text->rfind(')') : std::string::npos;  // the name may hold blanks and brackets itself
  if (name_end == std::string::npos) return {};
  constexpr std::uint64_t kernel_thread_flag = 0x00200000;  // PF_KTHREAD
  ProcessStat out;
  int field = 3;
  for (auto at = name_end + 2; at < text->size() && field <= 22; ++field) {
    const auto end = std::min(text->find(' ', at), text->size());
    std::int64_t value = 0;
    std::from_chars(text->data() + at, text->data() + end, value);
    if (field == 3) out.state = (*text)[at];
    if (field == 4) out.parent = static_cast<pid_t>(value);
    if (field == 20) out.threads = static_cast<int>(value);
    if (field == 9) out.kernel_thread = static_cast<std::uint64_t>(value) & kernel_thread_flag;
    if (field == 22) out.start_ticks = static_cast<std::uint64_t>(value);
    at = end + 1;
  }
  if (field <= 22) return {};
  return out;
}

pid_t live_thread(pid_t pid) {
  const auto stat = read_process_stat(pid);
  if (!stat || !stat->first_thread_ended() || stat->ended()) return pid;
  for (auto& thread : entries(fmt::format("/proc/{}/task", pid))) {
    const auto name = thread.filename().string();
    pid_t tid = 0;
    std::from_chars(name.data(), name.data() + name.size(), tid);
    if (const auto its = read_process_stat(tid); its && !its->first_thread_ended()) return tid;
  }
  return pid;
}

std::int64_t boot_ns_of(std::uint64_t start_ticks) {
  static const auto tick_ns = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
  return static_cast<std::int64_t>(start_ticks) * tick_ns;
}

namespace {

std::vector<pid_t> read_own_line() {
  std::vector<pid_t> out;
  for (pid_t pid = ::getpid(); pid > 1;) {
    out.push_back(pid);
    const auto stat = read_process_stat(pid);
    if (!stat) break;
    pid = stat->parent;
  }
  out.push_back(1);
  return out;
}

}  // namespace

// Whoever inherits a process is an ancestor of it already (PR_SET_CHILD_SUBREAPER in prctl(2)), so that those
// of before are all of now and some that died: their numbers may be another's after a while.
std::vector<pid_t> own_line() {
  constexpr std::int64_t kept_for_ns = 1'000'000'000;
  thread_local std::vector<pid_t> line;
  thread_local std::int64_t read_at = 0;
  const auto now = monotonic_ns();
  if (line.empty() || line.front() != ::getpid() || now - read_at > kept_for_ns) {
    line = read_own_line();
    read_at = now;
  }
  return line;
}

Fd open_process(pid_t pid, std::uint64_t start_ticks) {
  Fd fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!fd) return fd;
  // The pidfd pins the process; only now is its start time that of the process we hold.
  auto stat = read_process_stat(pid);
  if (!stat || stat->start_ticks != start_ticks || stat->ended()) return Fd{};
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

const std::string& boot_id() {
  static const auto id = std::string(trimmed(read_file("/proc/sys/kernel/random/boot_id").value_or("")));
  return id;
}

namespace {
std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}
}  // namespace

std::int64_t wall_ns() {
  return clock_ns(CLOCK_REALTIME);
}
std::string time_of_day(std::int64_t wall_ns) {
  const auto at = static_cast<std::time_t>(wall_ns / 1'000'000'000);
  std::tm utc{};
  ::gmtime_r(&at, &utc);
  return fmt::format("{:02}:{:02}:{:02} UTC", utc.tm_hour, utc.tm_min, utc.tm_sec);
}
std::int64_t monotonic_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}
std::int64_t boottime_ns() {
  return clock_ns(CLOCK_BOOTTIME);
}

}  // namespace squall
