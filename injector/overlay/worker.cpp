#include "injector/overlay/worker.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "injector/overlay/detach.hpp"
#include "injector/overlay/once.hpp"
#include "injector/overlay/operations.hpp"
#include "injector/system/process.hpp"

namespace squall::overlay {
namespace {

constexpr int threads = 16;
// Newer than the headers of Debian 12 (include/uapi/linux/fuse.h of Linux 6.6 and 6.9).
constexpr std::uint64_t direct_io_allow_mmap = std::uint64_t{1} << 36;
constexpr int notify_resend = 7;

// libfuse 3.14 knows the lower 32 flags alone; this adds to its answer to FUSE_INIT that files that nothing
// is cached of may be mapped all the same.
ssize_t reply(int device, iovec* parts, int count, void* data) {
  static std::uint64_t first_unique = 0;
  auto& shared = static_cast<Lower*>(data)->shared;
  if (!first_unique) std::memcpy(&first_unique, shared.first_request + offsetof(fuse_in_header, unique), 8);
  const auto* head = static_cast<const fuse_out_header*>(parts[0].iov_base);
  if (count == 2 && !head->error && head->unique == first_unique &&
      parts[1].iov_len == sizeof(fuse_init_out)) {
    auto& said = *static_cast<fuse_init_out*>(parts[1].iov_base);
    said.flags |= FUSE_INIT_EXT;
    said.flags2 |= static_cast<std::uint32_t>(direct_io_allow_mmap >> 32);
  }
  return ::writev(device, parts, count);
}

ssize_t receive(int device, void* buffer, std::size_t size, void*) {
  return ::read(device, buffer, size);
}

void init(void*, fuse_conn_info* connection) {
  // Set-ID bits are taken away by the kernel, which knows who writes; locks are its own; nothing is written
  // later.
  for (const unsigned unwanted :
       {FUSE_CAP_HANDLE_KILLPRIV, FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_READDIRPLUS, FUSE_CAP_SPLICE_READ,
        FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE, FUSE_CAP_FLOCK_LOCKS, FUSE_CAP_POSIX_LOCKS})
    connection->want &= ~unwanted;
  for (const unsigned wanted : {FUSE_CAP_DONT_MASK, FUSE_CAP_POSIX_ACL, FUSE_CAP_ATOMIC_O_TRUNC,
                                FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_ASYNC_DIO, FUSE_CAP_EXPORT_SUPPORT})
    connection->want |= connection->capable & wanted;
  connection->max_write = 1 << 20;
  connection->max_background = 256;
  connection->congestion_threshold = 192;
}

struct Loop {
  Lower& files;
  fuse_session* session;
  int device;
  int over;  // an eventfd

  bool one(fuse_buf& buffer) {
    const int got = fuse_session_receive_buf(session, &buffer);
    if (got == -EINTR) return true;
    if (got <= 0) return false;
    fuse_in_header head{};
    std::memcpy(&head, buffer.mem, sizeof head);
    begin_request(head.unique);
    if (!answer_tmpfile(files, device, buffer.mem, buffer.size)) fuse_session_process_buf(session, &buffer);
    return true;
  }

  void run() {
    ::unshare(CLONE_FS);  // a umask of this thread's own
    ::umask(0);
    fuse_buf buffer{};
    while (!fuse_session_exited(session) && one(buffer))
      ;
    std::free(buffer.mem);
    const std::uint64_t tell = 1;
    (void)!::write(over, &tell, sizeof tell);
  }

  // The kernel's first request is kept: a successor hears it again.
  bool begin() {
    auto& shared = files.shared;
    fuse_buf buffer{};
    if (shared.first_request_size) {
      buffer.mem = shared.first_request;
      buffer.size = shared.first_request_size;
      fuse_session_process_buf(session, &buffer);
      return true;
    }
    if (fuse_session_receive_buf(session, &buffer) <= 0 || buffer.size > sizeof shared.first_request)
      return false;
    std::memcpy(shared.first_request, buffer.mem, buffer.size);
    shared.first_request_size = static_cast<std::uint32_t>(buffer.size);
    fuse_session_process_buf(session, &buffer);
    std::free(buffer.mem);
    return true;
  }
};

bool ask_again(int device) {
  fuse_out_header notify{sizeof(fuse_out_header), notify_resend, 0};
  return ::write(device, &notify, sizeof notify) == sizeof notify;
}

fuse_session* make_session(Lower& files, int device) {
  fuse_lowlevel_ops operations{};
  operations.init = init;
  add_name_operations(operations);
  add_attribute_operations(operations);
  add_data_operations(operations);
  add_folder_operations(operations);
  char name[] = "squall-injector";
  char* words[] = {name, nullptr};
  fuse_args arguments{1, words, 0};
  auto* session = fuse_session_new(&arguments, &operations, sizeof operations, &files);
  const fuse_custom_io io{reply, receive, nullptr, nullptr};
  if (session && fuse_session_custom_io(session, &io, device) != 0) session = nullptr;
  return session;
}

}  // namespace

int serve(Shared& shared, int device, pid_t keeper, const std::string& tag) {
  ::prctl(PR_SET_NAME, "squall-overlay");
  const auto stat = read_process_stat(keeper);
  const auto pidfd = stat ? open_process(keeper, stat->start_ticks) : Fd{};
  const bool successor = shared.first_request_size > 0;
  static Lower files{shared};
  const int over = ::eventfd(0, EFD_CLOEXEC);
  Loop loop{files, make_session(files, device), device, over};
  if (!loop.session || !pidfd || !loop.begin()) return 1;
  if (successor && !ask_again(device)) return cannot_take_over;
  std::thread{[] { files.held.run(); }}.detach();
  for (int i = 0; i < threads; ++i)
    std::thread{[&loop] { loop.run(); }}.detach();
  ++shared.serving;
  pollfd events[2] = {{over, POLLIN, 0}, {pidfd.get(), POLLIN, 0}};
  while (!(events[0].revents & POLLIN)) {
    if (::poll(events, 2, -1) < 0 && errno != EINTR) break;
    if (events[1].revents) {
      let_go(shared);
      detach(tag);
      events[1].fd = -1;
      events[1].revents = 0;
    }
  }
  ::_exit(done);
}

}  // namespace squall::overlay
