#include "injector/overlay/keeper.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/overlay/detach.hpp"
#include "injector/overlay/shared.hpp"
#include "injector/overlay/worker.hpp"
#include "injector/system/process.hpp"

namespace squall::overlay {
namespace {

constexpr int begins_within_ms = 5000;
constexpr int most_workers = 1000;

[[noreturn]] void fail(const char* attempt) {
  throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

void configure(int context, unsigned command, const char* key, const std::string& value) {
  if (::syscall(SYS_fsconfig, context, command, key, value.empty() ? nullptr : value.c_str(), 0) != 0)
    fail("configure the FUSE file system");
}

// As the mount beneath is: what may not be run or written there may not be so above it.
unsigned attributes_of_folder() {
  struct statvfs info{};
  if (::fstatvfs(Given::folder, &info) != 0) return 0;
  unsigned out = 0;
  if (info.f_flag & ST_RDONLY) out |= MOUNT_ATTR_RDONLY;
  if (info.f_flag & ST_NOSUID) out |= MOUNT_ATTR_NOSUID;
  if (info.f_flag & ST_NODEV) out |= MOUNT_ATTR_NODEV;
  if (info.f_flag & ST_NOEXEC) out |= MOUNT_ATTR_NOEXEC;
  return out;
}

// A file system that is mounted nowhere yet.
Fd make_mount(int device, const std::string& tag) {
  struct stat info{};
  if (::fstat(Given::folder, &info) != 0) fail("look at the folder");
  const Fd context{static_cast<int>(::syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC))};
  if (!context) fail("make a FUSE file system");
  configure(context.get(), FSCONFIG_SET_STRING, "source", tag);
  configure(context.get(), FSCONFIG_SET_STRING, "fd", std::to_string(device));
  configure(context.get(), FSCONFIG_SET_STRING, "rootmode", fmt::format("{:o}", info.st_mode & S_IFMT));
  configure(context.get(), FSCONFIG_SET_STRING, "user_id", "0");
  configure(context.get(), FSCONFIG_SET_STRING, "group_id", "0");
  configure(context.get(), FSCONFIG_SET_FLAG, "allow_other", "");
  configure(context.get(), FSCONFIG_SET_FLAG, "default_permissions", "");
  configure(context.get(), FSCONFIG_CMD_CREATE, nullptr, "");
  Fd mount{static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, attributes_of_folder()))};
  if (!mount) fail("make a mount of the FUSE file system");
  return mount;
}

// In a process of its own, since a process does not come back from another mount namespace.
void attach(const Fd& mount) {
  const pid_t child = ::fork();
  if (child < 0) fail("start a process");
  if (child == 0) {
    if (::setns(Given::in, CLONE_NEWNS) != 0) ::_exit(errno);
    const auto failed = ::syscall(SYS_move_mount, mount.get(), "", Given::folder, "",
                                  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    ::_exit(failed ? errno : 0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  if (errno) fail("mount the overlay over the folder");
}

void use_all_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

class Keeper {
 public:
  Keeper(const std::string& tag, Shared& shared) : tag_(tag), shared_(shared) {
    struct stat info{};
    if (::fstat(Given::folder, &info) != 0) fail("look at the folder");
    auto& top = shared_.nodes[0];
    top.device = info.st_dev;
    top.inode = info.st_ino;
    top.lookups = top.generation = 1;
    top.descriptor_plus_one = Given::folder + 1;
    device_ = Fd{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
    if (!device_) fail("open /dev/fuse");
  }

  void put_in_place() {
    const auto mount = make_mount(device_.get(), tag_);
    start_worker();
    const auto until = monotonic_ns() + begins_within_ms * std::int64_t{1'000'000};
    while (!shared_.serving) {
      if (wait_for_end(worker_, 2)) {
        int status = 0;
        ::waitpid(worker_pid_, &status, 0);
        throw std::runtime_error(
            fmt::format("start the overlay's worker: it ended with status {:#x}", status));
      }
      errno = ETIMEDOUT;
      if (monotonic_ns() > until) fail("start the overlay's worker");
    }
    errno = ECANCELED;
    if (shared_.let_go) fail("mount the overlay over the folder");
    attach(mount);
    // Whoever undoes sets this first and looks for mounts then: one of both sees the other.
    if (shared_.let_go) detach(tag_);
  }

  int watch() {
    bool injector = true;
    for (int workers = 1;;) {
      pollfd events[2] = {{worker_.get(), POLLIN, 0}, {injector ? Given::lifeline : -1, POLLIN, 0}};
      if (::poll(events, 2, -1) < 0 && errno != EINTR) return 1;
      if (events[1].revents) {
        injector = false;
        take_away();
      }
      if (!events[0].revents) continue;
      int status = 0;
      ::waitpid(worker_pid_, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == done) return 0;
      if ((WIFEXITED(status) && WEXITSTATUS(status) == cannot_take_over) || ++workers > most_workers) {
        take_away();
        return 1;
      }
      start_worker();
    }
  }

  void take_away() {
    let_go(shared_);
    detach(tag_);
  }

 private:
  // Shares our descriptors and nothing else (clone(2), CLONE_FILES); we have but one thread.
  void start_worker() {
    const auto keeper = ::getpid();
    worker_pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
    if (worker_pid_ < 0) fail("start the overlay's worker");
    if (worker_pid_ == 0) ::_exit(serve(shared_, device_.get(), keeper, tag_));
    if (const auto stat = read_process_stat(worker_pid_))
      worker_ = open_process(worker_pid_, stat->start_ticks);
  }

  std::string tag_;
  Shared& shared_;
  Fd device_, worker_;
  pid_t worker_pid_ = -1;
};

void say(const std::string& text) {
  (void)!::write(Given::ready, text.data(), text.size());
  ::close(Given::ready);
  ::open("/dev/null", O_WRONLY | O_CLOEXEC);
}

}  // namespace

int keep(const std::string& tag) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
    std::signal(signal, SIG_IGN);
  // The injector waits for the first process, and has no child to look after.
  if (const pid_t child = ::fork(); child != 0) ::_exit(child < 0 ? 1 : 0);
  ::setsid();
  (void)!::chdir("/");
  use_all_descriptors();
  auto* shared = map_shared(Given::memory);
  try {
    if (!shared) fail("map the overlay's memory");
    Keeper keeper{tag, *shared};
    try {
      keeper.put_in_place();
    } catch (...) {
      keeper.take_away();
      throw;
    }
    say("!");
    return keeper.watch();
  } catch (const std::exception& e) {
    say(e.what());
    return 5;
  }
}

}  // namespace squall::overlay
