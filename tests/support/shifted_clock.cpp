// Preloaded into a program, it shifts CLOCK_REALTIME by as many nanoseconds as the file $SHIFTED_CLOCK holds
// (an int64), which may change while the program runs. A program with a sanitizer's own clock_gettime finds
// this one as the next.
#include <cstdint>
#include <cstdlib>
#include <ctime>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

const volatile std::int64_t* shift() {
  const char* path = std::getenv("SHIFTED_CLOCK");
  const int fd = path ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return nullptr;
  void* at = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return at == MAP_FAILED ? nullptr : static_cast<const volatile std::int64_t*>(at);
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const long failed = ::syscall(SYS_clock_gettime, clock, now);
  if (failed || clock != CLOCK_REALTIME) return static_cast<int>(failed);
  static const volatile std::int64_t* by = shift();
  if (!by) return 0;
  const std::int64_t ns = now->tv_sec * 1'000'000'000LL + now->tv_nsec + *by;
  now->tv_sec = ns / 1'000'000'000, now->tv_nsec = ns % 1'000'000'000;
  return 0;
}
