#include "injector/host/packets/held_count.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "injector/system/process.hpp"

namespace squall {

namespace {

using Number = std::atomic<std::uint64_t>;
static_assert(Number::is_always_lock_free);  // or it means nothing to another process

std::string path_of(const std::string& name) {
  return "/squall-" + name;
}

}  // namespace

HeldCount::HeldCount(const std::string& name) : name_(path_of(name)) {
  const Fd fd{::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd || ::ftruncate(fd.get(), sizeof(Number)) != 0) return;
  auto* at = ::mmap(nullptr, sizeof(Number), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at != MAP_FAILED) number_ = new (at) Number{0};
}

HeldCount::~HeldCount() {
  if (number_) ::munmap(number_, sizeof(Number));
  ::shm_unlink(name_.c_str());
}

void HeldCount::set(std::uint64_t packets) {
  if (number_) number_->store(packets, std::memory_order_relaxed);
}

std::optional<std::uint64_t> HeldCount::take(const std::string& name) {
  const Fd fd{::shm_open(path_of(name).c_str(), O_RDONLY | O_CLOEXEC, 0)};
  if (!fd) return {};
  std::uint64_t packets = 0;
  const auto got = ::pread(fd.get(), &packets, sizeof packets, 0);
  ::shm_unlink(path_of(name).c_str());
  if (got != sizeof packets) return {};
  return packets;
}

}  // namespace squall
