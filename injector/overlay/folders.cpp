// Reading folders: nothing is kept in memory but a descriptor and the kernel's own offsets.
#include <cerrno>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "injector/overlay/once.hpp"
#include "injector/overlay/operations.hpp"

namespace squall::overlay {
namespace {

void opendir(fuse_req_t request, fuse_ino_t number, fuse_file_info* file) {
  const auto path = path_of(descriptor(request, number));
  const int opened = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return answer(request, opened);
  file->fh = static_cast<std::uint64_t>(opened);
  fuse_reply_open(request, file);
}

void readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* file) {
  const int folder = static_cast<int>(file->fh);
  if (::lseek(folder, offset, SEEK_SET) < 0) return answer(request, -1);
  std::vector<char> raw(size), out(size);
  const auto got = ::syscall(SYS_getdents64, folder, raw.data(), raw.size());
  if (got < 0) return answer(request, got);
  std::size_t used = 0;
  for (long at = 0; at < got;) {
    // What did not fit is read again from the last offset that did.
    const auto* entry = reinterpret_cast<const dirent64*>(raw.data() + at);
    struct stat info{};
    info.st_ino = entry->d_ino;
    info.st_mode = DTTOIF(entry->d_type);
    const auto more =
        fuse_add_direntry(request, out.data() + used, size - used, entry->d_name, &info, entry->d_off);
    if (more > size - used) break;
    used += more;
    at += entry->d_reclen;
  }
  fuse_reply_buf(request, out.data(), used);
}

void releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  if (!asked_again()) ::close(static_cast<int>(file->fh));
  fuse_reply_err(request, 0);
}

}  // namespace

void add_folder_operations(fuse_lowlevel_ops& all) {
  all.opendir = opendir;
  all.readdir = readdir;
  all.releasedir = releasedir;
}

}  // namespace squall::overlay
