// Operations on attributes: stat, chmod, chown, truncate, utimens, extended attributes, statfs.
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "injector/overlay/operations.hpp"

namespace squall::overlay {
namespace {

void tell(fuse_req_t request, int file) {
  struct stat info{};
  if (::fstatat(file, "", &info, AT_EMPTY_PATH) != 0) return answer(request, -1);
  fuse_reply_attr(request, &info, 0);
}

void getattr(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  tell(request, descriptor(request, number));
}

timespec when(int which, int now, int set, const timespec& time) {
  if (which & now) return {0, UTIME_NOW};
  return which & set ? time : timespec{0, UTIME_OMIT};
}

int set_owner(int file, const struct stat& to, int which) {
  const auto uid = which & FUSE_SET_ATTR_UID ? to.st_uid : static_cast<uid_t>(-1);
  const auto gid = which & FUSE_SET_ATTR_GID ? to.st_gid : static_cast<gid_t>(-1);
  return ::fchownat(file, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
}

int set_times(int file, const struct stat& to, int which) {
  const timespec times[2] = {when(which, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, to.st_atim),
                             when(which, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, to.st_mtim)};
  return ::utimensat(file, "", times, AT_EMPTY_PATH);
}

// In this order: a new owner takes set-ID bits away, which a new mode may give back.
int set(int file, const struct stat& to, int which, const fuse_file_info* open) {
  const auto path = path_of(file);
  if (which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) && set_owner(file, to, which) != 0) return -1;
  if (which & FUSE_SET_ATTR_MODE && ::chmod(path.c_str(), to.st_mode & 07777) != 0) return -1;
  if (which & FUSE_SET_ATTR_SIZE) {
    const int failed =
        open ? ::ftruncate(static_cast<int>(open->fh), to.st_size) : ::truncate(path.c_str(), to.st_size);
    if (failed) return -1;
  }
  constexpr int any_time =
      FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  return which & any_time ? set_times(file, to, which) : 0;
}

void setattr(fuse_req_t request, fuse_ino_t number, struct stat* to, int which, fuse_file_info* open) {
  const int file = descriptor(request, number);
  if (set(file, *to, which, open) != 0) return answer(request, -1);
  tell(request, file);
}

void statfs(fuse_req_t request, fuse_ino_t number) {
  struct statvfs info{};
  if (::fstatvfs(descriptor(request, number), &info) != 0) return answer(request, -1);
  fuse_reply_statfs(request, &info);
}

// On what a symbolic link leads to there is nothing to be asked here: the kernel has followed it. Those of a
// link itself cannot be reached by an O_PATH descriptor.
void getxattr(fuse_req_t request, fuse_ino_t number, const char* name, std::size_t size) {
  std::vector<char> value(size);
  const auto got = ::getxattr(path_of(descriptor(request, number)).c_str(), name, value.data(), size);
  if (got < 0) return answer(request, got);
  if (size)
    fuse_reply_buf(request, value.data(), static_cast<std::size_t>(got));
  else
    fuse_reply_xattr(request, static_cast<std::size_t>(got));
}

void listxattr(fuse_req_t request, fuse_ino_t number, std::size_t size) {
  std::vector<char> names(size);
  const auto got = ::listxattr(path_of(descriptor(request, number)).c_str(), names.data(), size);
  if (got < 0) return answer(request, got);
  if (size)
    fuse_reply_buf(request, names.data(), static_cast<std::size_t>(got));
  else
    fuse_reply_xattr(request, static_cast<std::size_t>(got));
}

void setxattr(fuse_req_t request, fuse_ino_t number, const char* name, const char* value, std::size_t size,
              int flags) {
  answer(request, ::setxattr(path_of(descriptor(request, number)).c_str(), name, value, size, flags));
}

void removexattr(fuse_req_t request, fuse_ino_t number, const char* name) {
  answer(request, ::removexattr(path_of(descriptor(request, number)).c_str(), name));
}

}  // namespace

void add_attribute_operations(fuse_lowlevel_ops& all) {
  all.getattr = getattr;
  all.setattr = setattr;
  all.statfs = statfs;
  all.getxattr = getxattr;
  all.listxattr = listxattr;
  all.setxattr = setxattr;
  all.removexattr = removexattr;
}

}  // namespace squall::overlay
