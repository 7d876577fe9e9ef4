#include "injector/overlay/shared.hpp"

#include <climits>
#include <new>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace squall::overlay {

// A fresh memfd is all zeros, which is what a Shared begins as, apart from what is not zero.
int make_shared() {
  const int descriptor = ::memfd_create("squall-overlay", MFD_CLOEXEC);
  if (descriptor < 0) return -1;
  if (::ftruncate(descriptor, sizeof(Shared)) != 0) {
    ::close(descriptor);
    return -1;
  }
  auto* shared = map_shared(descriptor);
  if (!shared) {
    ::close(descriptor);
    return -1;
  }
  shared->share_ppm = 1'000'000;
  shared->seed = 1;
  unmap_shared(shared);
  return descriptor;
}

Shared* map_shared(int descriptor) {
  void* at =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  return at == MAP_FAILED ? nullptr : std::launder(static_cast<Shared*>(at));
}

void unmap_shared(Shared* shared) {
  ::munmap(static_cast<void*>(shared), sizeof(Shared));
}

void wake(Shared& shared) {
  ++shared.wake;
  ::syscall(SYS_futex, static_cast<void*>(&shared.wake), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void let_go(Shared& shared) {
  shared.let_go = 1;
  wake(shared);
}

}  // namespace squall::overlay
