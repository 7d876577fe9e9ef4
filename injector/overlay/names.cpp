// Operations on names: what is there, what is made, moved and removed.
#include <cerrno>
#include <functional>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "injector/overlay/once.hpp"
#include "injector/overlay/operations.hpp"

namespace squall::overlay {

int describe(Lower& files, int descriptor, fuse_entry_param& entry) {
  entry = {};
  if (::fstatat(descriptor, "", &entry.attr, AT_EMPTY_PATH) != 0) {
    const int error = errno;
    ::close(descriptor);
    return error;
  }
  entry.ino = files.nodes.found(descriptor, entry.attr);
  if (!entry.ino) return ENFILE;
  entry.generation = files.nodes.generation(entry.ino);
  return 0;
}

int describe(Lower& files, int folder, const char* name, fuse_entry_param& entry) {
  const int descriptor = ::openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return descriptor < 0 ? errno : describe(files, descriptor, entry);
}

namespace {

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry{};
  if (const int error = describe(lower(request), descriptor(request, parent), name, entry))
    fuse_reply_err(request, error);
  else
    fuse_reply_entry(request, &entry);
}

AsCaller as_caller(fuse_req_t request) {
  const auto* who = fuse_req_ctx(request);
  return {who->uid, who->gid, who->umask};
}

// Makes something as whoever asked, once, and answers with what is there then.
void make(fuse_req_t request, fuse_ino_t parent, const char* name,
          const std::function<long(int folder)>& act) {
  Once once{lower(request).shared};
  const int folder = descriptor(request, parent);
  const int error = once.error_of(
      [&] {
        const auto as = as_caller(request);
        return act(folder);
      },
      EEXIST);
  if (error)
    fuse_reply_err(request, error);
  else
    lookup(request, parent, name);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  make(request, parent, name, [&](int folder) { return ::mknodat(folder, name, mode, device); });
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  make(request, parent, name, [&](int folder) { return ::mkdirat(folder, name, mode); });
}

void symlink(fuse_req_t request, const char* to, fuse_ino_t parent, const char* name) {
  make(request, parent, name, [&](int folder) { return ::symlinkat(to, folder, name); });
}

// By root: links to files of others may be forbidden (fs.protected_hardlinks), which the kernel has looked
// at.
void link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char* name) {
  const auto path = path_of(descriptor(request, number));
  Once once{lower(request).shared};
  const int error = once.error_of(
      [&] { return ::linkat(AT_FDCWD, path.c_str(), descriptor(request, parent), name, AT_SYMLINK_FOLLOW); },
      EEXIST);
  if (error)
    fuse_reply_err(request, error);
  else
    lookup(request, parent, name);
}

void remove(fuse_req_t request, fuse_ino_t parent, const char* name, int flags) {
  Once once{lower(request).shared};
  fuse_reply_err(request,
                 once.error_of([&] { return ::unlinkat(descriptor(request, parent), name, flags); }, ENOENT));
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, 0);
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, AT_REMOVEDIR);
}

void rename(fuse_req_t request, fuse_ino_t from, const char* name, fuse_ino_t to, const char* new_name,
            unsigned flags) {
  Once once{lower(request).shared};
  const auto act = [&] {
    return ::renameat2(descriptor(request, from), name, descriptor(request, to), new_name, flags);
  };
  fuse_reply_err(request, once.error_of(act, ENOENT));
}

void readlink(fuse_req_t request, fuse_ino_t number) {
  char text[4097];
  const auto size = ::readlinkat(descriptor(request, number), "", text, sizeof text - 1);
  if (size < 0) return answer(request, size);
  text[size] = 0;
  fuse_reply_readlink(request, text);
}

void forget(fuse_req_t request, fuse_ino_t number, std::uint64_t lookups) {
  lower(request).nodes.forget(number, lookups);
  fuse_reply_none(request);
}

void forget_many(fuse_req_t request, std::size_t count, fuse_forget_data* which) {
  for (std::size_t i = 0; i < count; ++i)
    lower(request).nodes.forget(which[i].ino, which[i].nlookup);
  fuse_reply_none(request);
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  int opened = -1;
  // Where a worker that died has made it, it may be there already.
  const int flags = asked_again() ? file->flags & ~O_EXCL : file->flags;
  {
    const auto as = as_caller(request);
    opened = ::openat(descriptor(request, parent), name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
  }
  if (opened < 0) return answer(request, -1);
  fuse_entry_param entry{};
  const auto path = path_of(opened);
  const int node = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (const int error = node < 0 ? errno : describe(lower(request), node, entry)) {
    ::close(opened);
    fuse_reply_err(request, error);
    return;
  }
  file->fh = static_cast<std::uint64_t>(opened);
  file->direct_io = 1;
  fuse_reply_create(request, &entry, file);
}

}  // namespace

void add_name_operations(fuse_lowlevel_ops& all) {
  all.lookup = lookup;
  all.mknod = mknod;
  all.mkdir = mkdir;
  all.symlink = symlink;
  all.link = link;
  all.unlink = unlink;
  all.rmdir = rmdir;
  all.rename = rename;
  all.readlink = readlink;
  all.forget = forget;
  all.forget_multi = forget_many;
  all.create = create;
}

}  // namespace squall::overlay
