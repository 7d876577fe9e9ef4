#include "injector/overlay/detach.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/overlay/shared.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::overlay {
namespace {

constexpr int shared_descriptor = 3;  // of every process of an overlay (keeper.cpp)

std::vector<std::string> points(std::string_view mountinfo, const std::string& tag) {
  std::vector<std::string> out;
  if (mountinfo.find(tag) == mountinfo.npos) return out;
  for (auto& mount : parse_mountinfo(mountinfo))
    if (mount.source == tag && mount.type == "fuse") out.push_back(mount.point);
  return out;
}

// One descriptor for each mount namespace in which the tag is seen.
std::map<ino_t, Fd> namespaces_with(const std::string& tag) {
  std::map<ino_t, Fd> out;
  std::map<ino_t, bool> looked;
  for (const auto pid : all_processes()) {
    const auto name = fmt::format("/proc/{}/ns/mnt", pid);
    struct stat info{};
    if (::stat(name.c_str(), &info) != 0 || looked[info.st_ino]) continue;
    const auto mounts = read_file(fmt::format("/proc/{}/mountinfo", pid));
    if (!mounts || mounts->empty()) continue;
    // A process with a root of its own sees a part: another one of the namespace may see more.
    if (points(*mounts, tag).empty()) continue;
    looked[info.st_ino] = true;
    if (Fd opened{::open(name.c_str(), O_RDONLY | O_CLOEXEC)}) out.emplace(info.st_ino, std::move(opened));
  }
  return out;
}

std::string read_all(int folder, const char* name) {
  std::string out;
  const Fd file{::openat(folder, name, O_RDONLY | O_CLOEXEC)};
  char piece[16384];
  for (ssize_t got = 0; file && (got = ::read(file.get(), piece, sizeof piece)) > 0;)
    out.append(piece, static_cast<std::size_t>(got));
  return out;
}

// By a descriptor of this very mount, never by its path alone: somebody else may have taken it away just now,
// and the same path is the service's own mount then. Asks the overlay nothing, whose worker may be dead.
int unmount(int proc, const std::string& point, const std::string& tag) {
  const Fd top{::open(point.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!top) return errno;
  const auto info = read_all(proc, fmt::format("self/fdinfo/{}", top.get()).c_str());
  const auto at = info.find("mnt_id:");
  const int id = at == info.npos ? 0 : std::atoi(info.c_str() + at + 7);
  for (auto& mount : parse_mountinfo(read_all(proc, "self/mountinfo")))
    if (mount.id == id && mount.source == tag && mount.type == "fuse")
      return ::umount2(fmt::format("self/fd/{}", top.get()).c_str(), MNT_DETACH) == 0 ? 0 : errno;
  return EINVAL;
}

// In a process of its own: 0, or an errno.
int unmount_in(int mount_namespace, int proc, const std::string& tag) {
  // One after the other, whoever does it: keeper, worker, injector or guardian.
  ::flock(mount_namespace, LOCK_EX);
  if (::setns(mount_namespace, CLONE_NEWNS) != 0) return errno;
  const auto all = points(read_all(proc, "self/mountinfo"), tag);
  if (::fchdir(proc) != 0) return errno;
  for (auto point = all.rbegin(); point != all.rend(); ++point)
    // Where propagation has taken it already, it is no mount of ours any more (EINVAL).
    if (const int error = unmount(proc, *point, tag); error && error != EINVAL && error != ENOENT)
      return error;
  return points(read_all(proc, "self/mountinfo"), tag).empty() ? 0 : EBUSY;
}

int unmount_elsewhere(const Fd& mount_namespace, const std::string& tag) {
  const Fd proc{::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(unmount_in(mount_namespace.get(), proc.get(), tag));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return 0;  // somebody else took its end; whether it is gone is looked at again
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

}  // namespace

Detached detach(const std::string& tag) {
  Detached out;
  for (auto& [number, descriptor] : namespaces_with(tag)) {
    ++out.mounts;
    if (const int error = unmount_elsewhere(descriptor, tag))
      out.error =
          fmt::format("take the overlay out of the mount namespace {}: {}", number, std::strerror(error));
  }
  return out;
}

bool attached(const std::string& tag) {
  return !namespaces_with(tag).empty();
}

std::vector<pid_t> processes_of(const std::string& tag) {
  const auto wanted = fmt::format("squall-injector{}{}{}{}{}", '\0', command, '\0', tag, '\0');
  std::vector<pid_t> out;
  for (const auto pid : all_processes()) {
    struct stat info{};
    const auto folder = fmt::format("/proc/{}", pid);
    if (::stat(folder.c_str(), &info) != 0 || info.st_uid != 0) continue;
    if (read_file(folder + "/cmdline") == wanted) out.push_back(pid);
  }
  return out;
}

bool let_go_of(const std::string& tag) {
  bool found = false;
  for (const auto pid : processes_of(tag)) {
    const auto name = fmt::format("/proc/{}/fd/{}", pid, shared_descriptor);
    const Fd memory{::open(name.c_str(), O_RDWR | O_CLOEXEC)};
    struct stat info{};
    if (!memory || ::fstat(memory.get(), &info) != 0 || info.st_size != sizeof(Shared)) continue;
    if (auto* shared = map_shared(memory.get())) {
      let_go(*shared);
      unmap_shared(shared);
      found = true;
    }
  }
  return found;
}

}  // namespace squall::overlay
