// O_TMPFILE through the overlay. The kernel asks by FUSE_TMPFILE (since 6.1), which libfuse 3.14 answers with
// ENOSYS; so it is answered here, in the words of linux/fuse.h.
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "injector/overlay/operations.hpp"

namespace squall::overlay {
namespace {

fuse_attr attributes(const struct stat& info) {
  fuse_attr out{};
  out.ino = info.st_ino;
  out.size = static_cast<std::uint64_t>(info.st_size);
  out.blocks = static_cast<std::uint64_t>(info.st_blocks);
  out.atime = static_cast<std::uint64_t>(info.st_atim.tv_sec);
  out.mtime = static_cast<std::uint64_t>(info.st_mtim.tv_sec);
  out.ctime = static_cast<std::uint64_t>(info.st_ctim.tv_sec);
  out.atimensec = static_cast<std::uint32_t>(info.st_atim.tv_nsec);
  out.mtimensec = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  out.ctimensec = static_cast<std::uint32_t>(info.st_ctim.tv_nsec);
  out.mode = info.st_mode;
  out.nlink = static_cast<std::uint32_t>(info.st_nlink);
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  out.blksize = static_cast<std::uint32_t>(info.st_blksize);
  return out;
}

struct Made {
  fuse_entry_out entry{};
  fuse_open_out open{};
};

int make(Lower& files, const fuse_in_header& head, const fuse_create_in& asked, Made& made) {
  int opened = -1;
  {
    const AsCaller as{head.uid, head.gid, asked.umask};
    const auto folder = path_of(files.nodes.descriptor(head.nodeid));
    opened = ::open(folder.c_str(), static_cast<int>(asked.flags) | O_TMPFILE | O_CLOEXEC, asked.mode);
  }
  if (opened < 0) return errno;
  fuse_entry_param entry{};
  const int node = ::open(path_of(opened).c_str(), O_PATH | O_CLOEXEC);
  if (const int error = node < 0 ? errno : describe(files, node, entry)) {
    ::close(opened);
    return error;
  }
  made.entry.nodeid = entry.ino;
  made.entry.generation = entry.generation;
  made.entry.attr = attributes(entry.attr);
  made.open.fh = static_cast<std::uint64_t>(opened);
  made.open.open_flags = FOPEN_DIRECT_IO;
  return 0;
}

}  // namespace

bool answer_tmpfile(Lower& files, int device, const void* request, std::size_t size) {
  fuse_in_header head{};
  fuse_create_in asked{};
  if (size < sizeof head + sizeof asked) return false;
  std::memcpy(&head, request, sizeof head);
  if (head.opcode != FUSE_TMPFILE) return false;
  std::memcpy(&asked, static_cast<const char*>(request) + sizeof head, sizeof asked);
  Made made;
  const int error = make(files, head, asked, made);
  fuse_out_header out{static_cast<std::uint32_t>(sizeof(fuse_out_header) + (error ? 0 : sizeof made)), -error,
                      head.unique};
  iovec parts[] = {{&out, sizeof out}, {&made, error ? 0 : sizeof made}};
  (void)!::writev(device, parts, 2);
  return true;
}

}  // namespace squall::overlay
