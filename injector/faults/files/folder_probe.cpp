#include "injector/faults/files/folder_probe.hpp"

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::faults {

using overlay::Kind;

struct FolderProbe::State {
  std::shared_ptr<overlay::Overlay> overlay;
  Kinds wanted{};
  int expected = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::array<Probed, overlay::kinds> seen;
  std::string unknown;
  bool stop = false, ended = false;

  void run();
  void round(int through, int bare);
  void end(std::string why);
};

namespace {

constexpr std::chrono::milliseconds pause{100};
constexpr std::size_t block = 4096;

// 0, or an errno.
int operate(Kind kind, int file) {
  alignas(4096) static thread_local char data[block];
  ssize_t result = 0;
  if (kind == Kind::read) result = ::pread(file, data, block, 0);
  if (kind == Kind::write) result = ::pwrite(file, data, block, 0);
  if (kind == Kind::flush) result = ::fdatasync(file);
  return result < 0 ? errno : 0;
}

std::pair<int, double> timed(Kind kind, int file) {
  const auto from = monotonic_ns();
  const int error = operate(kind, file);
  return {error, static_cast<double>(monotonic_ns() - from) / 1e6};
}

Fd nameless(const std::string& folder) {
  return Fd{::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
}

}  // namespace

void FolderProbe::State::round(int through, int bare) {
  for (const auto kind : {Kind::write, Kind::flush, Kind::read}) {
    const auto at = static_cast<std::size_t>(kind);
    if (!wanted[at]) continue;
    // A flush of what was not written is none.
    if (kind == Kind::flush && (operate(Kind::write, bare) || operate(Kind::write, through))) continue;
    const auto without = timed(kind, bare), with = timed(kind, through);
    const std::lock_guard lock{mutex};
    auto& one = seen[at];
    if (without.first == 0) one.bare_ms.push_back(without.second);
    if (with.first == 0)
      one.through_ms.push_back(with.second);
    else if (with.first == expected)
      ++one.failed;
    else
      ++one.failed_otherwise;
  }
}

void FolderProbe::State::end(std::string why) {
  const std::lock_guard lock{mutex};
  if (!why.empty()) unknown = std::move(why);
  ended = true;
  changed.notify_all();
}

void FolderProbe::State::run() {
  overlay->shared().uncounted_pid = ::gettid();
  const auto bare = nameless(fmt::format("/proc/self/fd/{}", overlay->folder()));
  if (!bare) return end(fmt::format("make a file without a name in the folder: {}", std::strerror(errno)));
  const auto through = nameless(overlay->place().below());
  if (!through)
    return end(fmt::format("make a file without a name through the overlay: {}", std::strerror(errno)));
  (void)!::pwrite(bare.get(), "", 1, block - 1);
  (void)!::ftruncate(through.get(), block);
  for (;;) {
    round(through.get(), bare.get());
    std::unique_lock lock{mutex};
    if (changed.wait_for(lock, pause, [this] { return stop; })) break;
  }
  end("");
}

void FolderProbe::start(const std::shared_ptr<overlay::Overlay>& overlay, Kinds wanted, int expected) {
  state_ = std::make_shared<State>();
  state_->overlay = overlay;
  state_->wanted = wanted;
  state_->expected = expected;
  std::thread{[state = state_] { state->run(); }}.detach();
}

void FolderProbe::forget() {
  if (!state_) return;
  const std::lock_guard lock{state_->mutex};
  state_->seen = {};
}

Probed FolderProbe::seen(Kind kind) const {
  if (!state_) return {};
  const std::lock_guard lock{state_->mutex};
  return state_->seen[static_cast<std::size_t>(kind)];
}

std::string FolderProbe::unknown() const {
  if (!state_) return "";
  const std::lock_guard lock{state_->mutex};
  return state_->unknown;
}

void FolderProbe::stop() {
  if (!state_) return;
  std::unique_lock lock{state_->mutex};
  state_->stop = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::seconds{2}, [this] { return state_->ended; });
}

}  // namespace squall::faults
