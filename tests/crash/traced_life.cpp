#include "tests/crash/traced_life.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall::crash {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{20};

// What may change a host or a journal; closing is among it, since rules may go with the socket that made
// them.
const std::set<long>& steps() {
  static const std::set<long> out{
      SYS_write,         SYS_pwrite64,     SYS_writev,        SYS_pwritev,
      SYS_sendto,        SYS_sendmsg,      SYS_sendmmsg,      SYS_ioctl,
      SYS_openat,        SYS_close,        SYS_mkdirat,       SYS_unlinkat,
      SYS_renameat,      SYS_renameat2,    SYS_linkat,        SYS_symlinkat,
      SYS_fsync,         SYS_fdatasync,    SYS_fallocate,     SYS_ftruncate,
      SYS_truncate,      SYS_kill,         SYS_tgkill,        SYS_pidfd_send_signal,
      SYS_mount,         SYS_umount2,      SYS_setsockopt,    SYS_bind,
      SYS_clone,         SYS_execve,       SYS_setns,         SYS_unshare,
      SYS_flock,         SYS_exit_group,   SYS_fchmodat,      SYS_fchownat,
      SYS_setxattr,      SYS_finit_module, SYS_delete_module, SYS_clock_settime,
      SYS_clock_adjtime, SYS_sethostname,  SYS_prlimit64,     SYS_swapoff,
#ifdef SYS_rename
      SYS_open,          SYS_mkdir,        SYS_rmdir,         SYS_unlink,
      SYS_rename,        SYS_link,         SYS_symlink,       SYS_chmod,
      SYS_chown,         SYS_vfork,        SYS_fork,          SYS_creat,
#endif
#ifdef SYS_clone3
      SYS_clone3,
#endif
  };
  return out;
}

// Has only the calls that may be steps stop for the tracer: looking through /proc takes thousands of others.
// False where the kernel cannot (user-mode Linux); every call stops then.
bool filter_calls() {
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (auto number : steps()) {
    if (number == SYS_openat) continue;
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3));
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT, 0, 1));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool can_filter_calls() {
  static const bool can = [] {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(filter_calls() ? 0 : 1);
    int status = 1;
    ::waitpid(pid, &status, 0);
    return status == 0;
  }();
  return can;
}

struct Call {
  long number = -1;
  unsigned long long first = 0, third = 0;  // arguments
};

Call call_of(pid_t pid) {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
    // Both begin alike.
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY || info.op == PTRACE_SYSCALL_INFO_SECCOMP)
      return {static_cast<long>(info.entry.nr), info.entry.args[0], info.entry.args[2]};
  }
#ifdef __x86_64__
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) == 0)
    return {static_cast<long>(registers.orig_rax), registers.rdi, registers.rdx};
#endif
  return {};
}

// Whether it may change something: not where it only reads files.
bool is_step(pid_t pid) {
  const auto call = call_of(pid);
  if (!steps().contains(call.number)) return false;
  if (call.number == SYS_openat) return (call.third & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
  if (call.number != SYS_close) return true;
  char target[64];
  const auto length =
      ::readlink(fmt::format("/proc/{}/fd/{}", pid, call.first).c_str(), target, sizeof target);
  const std::string_view file(target, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return file.starts_with("socket:") || file.starts_with("/dev/net/") ||
         file.find(".journal") != std::string_view::npos;
}

std::string content(const std::string& path) {
  return read_file(path).value_or("");
}

pid_t group_of(pid_t thread) {
  const auto status = content(fmt::format("/proc/{}/status", thread));
  const auto at = status.find("\nTgid:");
  return at == std::string::npos ? thread : static_cast<pid_t>(std::atoi(status.c_str() + at + 6));
}

bool is_guardian(pid_t pid) {
  return content(fmt::format("/proc/{}/cmdline", pid)).find(std::string("\0guardian\0", 10)) !=
         std::string::npos;
}

// Speaks the protocol; ends with the other side.
class Caller {
 public:
  Caller(int to, int from, std::vector<json::object> requests)
      : to_(to), from_(from), requests_(std::move(requests)), thread_([this] { speak(); }) {}
  // After the other side's end.
  std::string join() {
    thread_.join();
    return refused_;
  }

 private:
  void speak() {
    int id = 0;
    for (auto& request : requests_) {
      if (auto* wait = request.if_contains("wait_ms")) {
        std::this_thread::sleep_for(std::chrono::milliseconds{wait->as_int64()});
        continue;
      }
      request["id"] = ++id;
      const auto line = json::serialize(request) + "\n";
      if (::write(to_, line.data(), line.size()) < 0 || !answered(id)) break;
    }
    ::close(to_);
    std::string rest;
    while (read_line(rest))
      rest.clear();
    ::close(from_);
  }

  bool answered(int id) {
    for (std::string line; read_line(line); line.clear()) {
      json::error_code bad;
      const auto value = json::parse(line, bad);
      if (bad || !value.is_object()) continue;
      auto* answers = value.as_object().if_contains("id");
      if (!answers || !answers->is_int64() || answers->get_int64() != id) continue;
      if (!value.at("ok").as_bool() && refused_.empty()) refused_ = line;
      return true;
    }
    return false;
  }

  bool read_line(std::string& line) {
    for (;;) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
      }
      char part[4096];
      const auto got = ::read(from_, part, sizeof part);
      if (got <= 0) return false;
      buffer_.append(part, static_cast<std::size_t>(got));
    }
  }

  int to_, from_;
  std::vector<json::object> requests_;
  std::string buffer_, refused_;
  std::thread thread_;
};

class Tracer {
 public:
  Tracer(pid_t root, const KillPoint& at) : root_(root), at_(at) {}

  Life run() {
    int status = 0;
    ::waitpid(root_, &status, __WALL);
    ::ptrace(PTRACE_SETOPTIONS, root_, nullptr,
             PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL | (can_filter_calls() ? PTRACE_O_TRACESECCOMP : 0));
    traced_[root_] = {root_, Role::injector, false};
    go_on(root_, 0);
    const auto deadline = Clock::now() + patience;
    while (!traced_.empty() || take_in_strays()) {
      const pid_t pid = ::waitpid(-1, &status, __WALL);
      if (Clock::now() > deadline) {
        give_up();
        continue;
      }
      if (pid > 0) heed(pid, status);
      if (pid < 0 && errno == ECHILD) break;
    }
    if (life_.injector_killed)
      life_.undone_after_ms = std::chrono::duration<double, std::milli>(Clock::now() - killed_at_).count();
    return life_;
  }

 private:
  enum class Role { injector, guardian, other };
  struct Traced {
    pid_t group = 0;
    Role role = Role::other;
    bool inside = false;  // a system call
  };

  // A child that was born while its parent was killed: nobody told us of it, and it waits for us.
  bool take_in_strays() {
    for (auto& entry : entries("/proc")) {
      const pid_t pid = std::atoi(entry.filename().c_str());
      if (pid <= 0) continue;
      const auto status = content(entry / "status");
      const auto at = status.find("\nTracerPid:");
      if (at == std::string::npos || std::atoi(status.c_str() + at + 11) != ::getpid() ||
          status.find("\nState:\tZ") != std::string::npos)
        continue;
      traced_[pid] = {group_of(pid), Role::other, false};
      go_on(pid, 0);
    }
    return !traced_.empty();
  }

  void go_on(pid_t pid, int signal) {
    ::ptrace(can_filter_calls() ? PTRACE_CONT : PTRACE_SYSCALL, pid, nullptr, static_cast<long>(signal));
  }

  void heed(pid_t pid, int status) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      traced_.erase(pid);
      return;
    }
    if (!WIFSTOPPED(status)) return;
    const bool fresh = !traced_.contains(pid);
    if (fresh) {
      const auto group = group_of(pid);
      traced_[pid] = {group, group == root_ ? Role::injector : Role::other, false};
    }
    const int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
      auto& one = traced_[pid];
      one.inside = !one.inside;
      if (one.inside && step(pid, one)) return;
      go_on(pid, 0);
    } else if (status >> 16 == PTRACE_EVENT_SECCOMP) {
      if (!step(pid, traced_[pid])) go_on(pid, 0);
    } else if (status >> 16) {
      if (status >> 16 == PTRACE_EVENT_EXEC && pid != root_ && is_guardian(pid))
        traced_[pid].role = Role::guardian;
      go_on(pid, 0);
    } else {
      go_on(pid, fresh && signal == SIGSTOP ? 0 : signal);
    }
  }

  // True where it was killed before the call.
  bool step(pid_t pid, const Traced& one) {
    if (one.role == Role::other || !is_step(pid)) return false;
    if (one.role == Role::injector) {
      if (++life_.injector_steps != at_.injector) return false;
      life_.injector_killed = true;
      life_.guardian_steps = 0;
      killed_at_ = Clock::now();
    } else {
      if (++life_.guardian_steps != at_.guardian || (at_.injector && !life_.injector_killed)) return false;
      life_.guardian_killed = true;
    }
    ::kill(one.group, SIGKILL);
    return true;
  }

  void give_up() {
    std::string who;
    for (auto& [pid, one] : traced_) {
      who += fmt::format(" {}", content(fmt::format("/proc/{}/comm", pid)));
      ::kill(one.group, SIGKILL);
    }
    if (life_.trouble.empty()) life_.trouble = fmt::format("not over after {} s:{}", patience.count(), who);
  }

  pid_t root_;
  KillPoint at_;
  std::map<pid_t, Traced> traced_;
  Life life_;
  Clock::time_point killed_at_;
};

}  // namespace

std::string KillPoint::to_string() const {
  return fmt::format("{}:{}:{}:{}", injector, guardian, recovery, hang_up);
}

Life live(const std::vector<std::string>& command, const std::vector<json::object>& requests,
          const KillPoint& at) {
  std::signal(SIGPIPE, SIG_IGN);
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  std::vector<char*> argv;
  for (auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const bool filtered = can_filter_calls();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    if (filtered && !filter_calls()) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  // waitpid returns now and then, so that the time is looked at.
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &wake, nullptr);
  const itimerval often{{1, 0}, {1, 0}}, never{};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  auto said = requests;
  if (at.hang_up) said.resize(std::min<std::size_t>(said.size(), at.hang_up));
  Caller caller{in[1], out[0], std::move(said)};
  auto life = Tracer{pid, at}.run();
  ::setitimer(ITIMER_REAL, &never, nullptr);
  if (const auto refused = caller.join(); !refused.empty() && !life.guardian_killed && life.trouble.empty())
    life.trouble = refused;
  return life;
}

}  // namespace squall::crash
