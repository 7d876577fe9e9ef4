#include "tests/stack/volume.hpp"

#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::stack {
namespace {

constexpr std::size_t most_waiting = 8 << 20;
constexpr std::size_t segment_size = 16 << 20;
constexpr unsigned segments = 6;

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Volume::Volume(std::filesystem::path directory, Histogram& flush)
    : directory_(std::move(directory)), flush_(flush) {
  next_segment();
  thread_ = std::thread([this] { run(); });
}

Volume::~Volume() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  ::close(file_);
}

bool Volume::append(std::string record, Done done) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_bytes_ + record.size() > most_waiting) return false;
    waiting_bytes_ += record.size();
    waiting_.push_back({std::move(record), std::move(done), Clock::now()});
  }
  wake_.notify_one();
  return true;
}

double Volume::oldest_wait_s() const {
  std::lock_guard lock(mutex_);
  if (flushing_since_) return seconds_since(*flushing_since_);
  return waiting_.empty() ? 0 : seconds_since(waiting_.front().since);
}

void Volume::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto batch = std::exchange(waiting_, {});
    waiting_bytes_ = 0;
    flushing_since_ = batch.front().since;
    lock.unlock();
    const bool written = write(batch);
    for (auto& one : batch)
      one.done(written);
    lock.lock();
    flushing_since_.reset();
  }
}

bool Volume::write(const std::vector<Waiting>& batch) {
  if (segment_bytes_ > segment_size) next_segment();
  const auto start = Clock::now();
  bool ok = true;
  for (auto& one : batch) {
    ok = ok && write_all(file_, one.record);
    segment_bytes_ += one.record.size();
  }
  ok = ok && ::fdatasync(file_) == 0;
  flush_.observe(seconds_since(start));
  return ok;
}

// O_TRUNC on the oldest segment gives its blocks back to the volume.
void Volume::next_segment() {
  const auto path = directory_ / fmt::format("changes.{}", segment_);
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (file < 0) {
    if (file_ < 0) throw std::runtime_error(fmt::format("open {}: {}", path.string(), std::strerror(errno)));
    return;  // goes on in the segment it has
  }
  if (file_ >= 0) ::close(file_);
  file_ = file;
  segment_ = (segment_ + 1) % segments;
  segment_bytes_ = 0;
}

}  // namespace squall::stack
