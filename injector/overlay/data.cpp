// Operations on what is in files. Nothing is cached above the folder's own file system (direct I/O), so that
// whoever holds a descriptor from before the overlay and whoever came through it see the same bytes at any
// moment.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "injector/overlay/once.hpp"
#include "injector/overlay/operations.hpp"

namespace squall::overlay {
namespace {

constexpr std::size_t page = 4096;

// Aligned as O_DIRECT wants it (open(2)).
struct Freed {
  void operator()(char* memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<char, Freed>;

Aligned aligned(std::size_t size) {
  return Aligned{static_cast<char*>(std::aligned_alloc(page, (size + page - 1) / page * page + page))};
}

int handle(const fuse_file_info* file) {
  return static_cast<int>(file->fh);
}

HeldAnswers::Fate fate(fuse_req_t request, Kind kind) {
  return lower(request).held.fate(kind, fuse_req_ctx(request)->pid);
}

void answer_later(fuse_req_t request, const HeldAnswers::Fate& fate, int error) {
  lower(request).held.answer(fate, [request, error] { fuse_reply_err(request, error); });
}

void open(fuse_req_t request, fuse_ino_t number, fuse_file_info* file) {
  const auto path = path_of(descriptor(request, number));
  const int opened = ::open(path.c_str(), (file->flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC);
  if (opened < 0) return answer(request, opened);
  file->fh = static_cast<std::uint64_t>(opened);
  file->direct_io = 1;
  fuse_reply_open(request, file);
}

// The number may be another file's by now where a worker that died has closed it: rather one too many is left
// open.
void release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  if (!asked_again()) ::close(handle(file));
  fuse_reply_err(request, 0);
}

void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* file) {
  const auto what = fate(request, Kind::read);
  if (what.error) return answer_later(request, what, what.error);
  thread_local Aligned own;
  thread_local std::size_t room = 0;
  if (room < size) {
    own = aligned(size);
    room = size;
  }
  const auto got = ::pread(handle(file), own.get(), size, offset);
  if (got < 0) return answer_later(request, what, errno);
  const auto many = static_cast<std::size_t>(got);
  if (!what.delay_ns) {
    fuse_reply_buf(request, own.get(), many);
    return;
  }
  auto kept = std::shared_ptr<char>(aligned(many).release(), Freed{});
  std::memcpy(kept.get(), own.get(), many);
  lower(request).held.answer(what, [request, kept, many] { fuse_reply_buf(request, kept.get(), many); });
}

// Done by a worker that died: what was to come behind the end is there.
int append(Once& once, int file, std::size_t size, const std::function<long()>& act) {
  struct stat info{};
  if (::fstat(file, &info) != 0) return errno;
  const auto before = once.size_before(info.st_size);
  if (once.known() && info.st_size >= before + static_cast<off_t>(size)) return 0;
  return once.error_of(act, 0);
}

void write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset,
           fuse_file_info* file) {
  const auto what = fate(request, Kind::write);
  if (what.error) return answer_later(request, what, what.error);
  Aligned copy;
  if (file->flags & O_DIRECT) {
    copy = aligned(size);
    std::memcpy(copy.get(), data, size);
    data = copy.get();
  }
  auto put = static_cast<ssize_t>(size);
  const auto act = [&]() -> long { return put = ::pwrite(handle(file), data, size, offset); };
  // Noted until it is answered, which may be later.
  const auto once = file->flags & O_APPEND ? std::make_shared<Once>(lower(request).shared) : nullptr;
  const int error = once ? append(*once, handle(file), size, act) : act() < 0 ? errno : 0;
  if (error) return answer_later(request, what, error);
  lower(request).held.answer(
      what, [request, put, once] { fuse_reply_write(request, static_cast<std::size_t>(put)); });
}

// At close(2): an error of writing back would be told here; closing a duplicate makes the kernel tell it.
void flush(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  answer(request, ::close(::dup(handle(file))));
}

void sync(fuse_req_t request, int descriptor, int data_alone) {
  const auto what = fate(request, Kind::flush);
  if (what.error) return answer_later(request, what, what.error);
  const int failed = data_alone ? ::fdatasync(descriptor) : ::fsync(descriptor);
  answer_later(request, what, failed ? errno : 0);
}

void fsync(fuse_req_t request, fuse_ino_t, int data_alone, fuse_file_info* file) {
  sync(request, handle(file), data_alone);
}

void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t size, fuse_file_info* file) {
  answer(request, ::fallocate(handle(file), mode, offset, size));
}

void lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  const auto at = ::lseek(handle(file), offset, whence);
  if (at < 0) return answer(request, at);
  fuse_reply_lseek(request, at);
}

void copy_file_range(fuse_req_t request, fuse_ino_t, off_t from, fuse_file_info* in, fuse_ino_t, off_t to,
                     fuse_file_info* out, std::size_t size, int flags) {
  const auto copied =
      ::copy_file_range(handle(in), &from, handle(out), &to, size, static_cast<unsigned>(flags));
  if (copied < 0) return answer(request, copied);
  fuse_reply_write(request, static_cast<std::size_t>(copied));
}

}  // namespace

void add_data_operations(fuse_lowlevel_ops& all) {
  all.open = open;
  all.release = release;
  all.read = read;
  all.write = write;
  all.flush = flush;
  all.fsync = fsync;
  all.fsyncdir = fsync;
  all.fallocate = fallocate;
  all.lseek = lseek;
  all.copy_file_range = copy_file_range;
}

}  // namespace squall::overlay
