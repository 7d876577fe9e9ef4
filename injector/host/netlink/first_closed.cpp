#include "injector/host/netlink/first_closed.hpp"

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "injector/system/close_later.hpp"
#include "injector/system/passed_descriptor.hpp"

namespace squall {

namespace {

Fd receive(int from) {
  char byte = 0;
  Fd out;
  receive_with_descriptor(from, {&byte, 1}, out, MSG_DONTWAIT);
  return out;
}

// Leaves the thread a table of its own with this descriptor and the first three, which lead nowhere.
bool keep_only(int fd) {
  constexpr int standard = 3;
  if (fd < standard || ::close_range(static_cast<unsigned>(fd) + 1, ~0U, CLOSE_RANGE_UNSHARE) != 0)
    return false;
  ::close_range(0, static_cast<unsigned>(fd) - 1, 0);
  for (int i = 0; i < standard; ++i)
    ::open("/dev/null", O_RDWR | O_CLOEXEC);
  return true;
}

}  // namespace

class Keeper {
 public:
  // The process's; nothing where there can be none.
  static Keeper* of_process() {
    static std::mutex making;
    static Keeper* made = nullptr;
    static pid_t made_by = 0;
    std::lock_guard lock{making};
    if (std::exchange(made_by, ::getpid()) != ::getpid()) {  // a fork has none of its parent's threads
      made = new Keeper;                                     // never destroyed
      if (!made->start()) made = nullptr;
    }
    return made;
  }

  // `act` on the thread.
  void run(const std::function<void()>& act) {
    std::lock_guard turn{turn_};
    run_now(act);
  }

  // A second descriptor of the same file, of the thread's table.
  Fd take(int fd) {
    std::lock_guard turn{turn_};
    Fd out;
    if (send_descriptor(outside_.get(), 0, fd)) run_now([&] { out = receive(inside_.get()); });
    return out;
  }

  // The file under a number of the caller's table, and no longer in the thread's.
  Fd give_back(Fd fd) {
    std::lock_guard turn{turn_};
    run_now([&] {
      send_descriptor(inside_.get(), 0, fd.get());
      fd.reset();
    });
    return receive(outside_.get());
  }

 private:
  bool start() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
    outside_ = Fd{ends[0]};
    Fd inside{ends[1]};
    std::promise<bool> ready;
    auto works = ready.get_future();
    try {
      std::thread{[this, end = inside.get(), ready = std::move(ready)]() mutable {
        serve(end, ready);
      }}.detach();
    } catch (const std::exception&) {
      return false;
    }
    return works.get();
  }

  void serve(int end, std::promise<bool>& ready) {
    ::prctl(PR_SET_NAME, "squall-tables");
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -20);
    if (!keep_only(end)) return ready.set_value(false);
    inside_ = Fd{end};
    ready.set_value(true);
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return act_ != nullptr; });
      (*act_)();
      act_ = nullptr;
      changed_.notify_all();
    }
  }

  void run_now(const std::function<void()>& act) {
    std::unique_lock lock{mutex_};
    act_ = &act;
    changed_.notify_all();
    changed_.wait(lock, [this] { return act_ == nullptr; });
  }

  std::mutex turn_, mutex_;
  std::condition_variable changed_;
  const std::function<void()>* act_ = nullptr;
  Fd outside_, inside_;  // the two ends between the tables, the second one's number being of the thread's
};

FirstClosed::FirstClosed(netlink::Socket socket) : socket_(std::move(socket)), keeper_(Keeper::of_process()) {
  if (!keeper_) return;
  kept_ = keeper_->take(socket_.fd());
  if (kept_)
    socket_ = netlink::Socket{Fd{}};
  else
    keeper_ = nullptr;
}

FirstClosed::~FirstClosed() {
  if (socket_.fd() >= 0 || kept_) close_later(release().release());
}

netlink::Answer FirstClosed::exchange(netlink::Messages& messages) {
  if (!keeper_) return socket_.exchange(messages);
  netlink::Answer out;
  keeper_->run([&] {
    netlink::Socket here{std::move(kept_)};
    out = here.exchange(messages);
    kept_ = here.release();
  });
  return out;
}

netlink::Socket FirstClosed::release() {
  if (!keeper_) return std::move(socket_);
  netlink::Socket out{keeper_->give_back(std::move(kept_))};
  out.close_first();
  return out;
}

}  // namespace squall
