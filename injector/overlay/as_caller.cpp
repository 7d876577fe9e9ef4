#include <cerrno>

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/overlay/operations.hpp"

namespace squall::overlay {
namespace {

// setfsuid(2) takes file capabilities out of the effective set, and these put them back; all but CAP_FSETID,
// with which a set-group-ID bit would stay that an ordinary user cannot set.
void keep_file_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (::syscall(SYS_capget, &header, sets) != 0) return;
  sets[0].effective = sets[0].permitted & ~(1U << CAP_FSETID);
  sets[1].effective = sets[1].permitted;
  ::syscall(SYS_capset, &header, sets);
}

}  // namespace

AsCaller::AsCaller(uid_t uid, gid_t gid, mode_t umask) : uid_(uid), gid_(gid) {
  ::umask(umask);
  if (gid_ != 0) ::syscall(SYS_setfsgid, gid_);
  if (uid_ != 0) {
    ::syscall(SYS_setfsuid, uid_);
    keep_file_capabilities();
  }
}

AsCaller::~AsCaller() {
  const int error = errno;
  if (uid_ != 0) {
    ::syscall(SYS_setfsuid, 0);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2]{};
    if (::syscall(SYS_capget, &header, sets) == 0) {
      for (auto& set : sets)
        set.effective = set.permitted;
      ::syscall(SYS_capset, &header, sets);
    }
  }
  if (gid_ != 0) ::syscall(SYS_setfsgid, 0);
  ::umask(0);
  errno = error;
}

std::string path_of(int descriptor) {
  return fmt::format("/proc/self/fd/{}", descriptor);
}

void answer(fuse_req_t request, long result) {
  fuse_reply_err(request, result < 0 ? errno : 0);
}

}  // namespace squall::overlay
