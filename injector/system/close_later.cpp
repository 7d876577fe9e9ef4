#include "injector/system/close_later.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace squall {

namespace {

// Never destroyed: at the end of the process the kernel closes what is left.
struct Closer {
  std::mutex mutex;
  std::condition_variable given;
  std::deque<int> waiting;

  void run() {
    std::unique_lock lock{mutex};
    for (;;) {
      given.wait(lock, [this] { return !waiting.empty(); });
      const int fd = waiting.front();
      waiting.pop_front();
      lock.unlock();
      ::close(fd);
      lock.lock();
    }
  }
};

Closer* closer() {
  static auto* const only = []() -> Closer* {
    auto* made = new Closer;
    try {
      std::thread{[made] { made->run(); }}.detach();
    } catch (const std::exception&) {
      return nullptr;
    }
    return made;
  }();
  return only;
}

}  // namespace

void close_later(Fd fd) {
  if (!fd) return;
  auto* const later = closer();
  if (!later) return;  // here and now
  {
    std::lock_guard lock{later->mutex};
    later->waiting.push_back(fd.release());
  }
  later->given.notify_one();
}

namespace {

constexpr int most_abreast = 64;

// Its threads end when nothing is left to close.
struct ClosersAbreast {
  std::mutex mutex;
  std::deque<Fd> waiting;
  int threads = 0;

  void run() {
    std::unique_lock lock{mutex};
    for (; !waiting.empty(); lock.lock()) {
      auto fd = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      fd.reset();
    }
    --threads;
  }
};

}  // namespace

void close_abreast(Fd fd) {
  static auto* const closers = new ClosersAbreast;
  std::lock_guard lock{closers->mutex};
  closers->waiting.push_back(std::move(fd));
  if (closers->threads == most_abreast) return;
  ++closers->threads;
  try {
    std::thread{[] { closers->run(); }}.detach();
  } catch (const std::exception&) {
    // The others do it, or there is none and it is done here and now.
    if (--closers->threads == 0) closers->waiting.clear();
  }
}

}  // namespace squall
