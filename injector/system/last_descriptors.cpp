#include "injector/system/last_descriptors.hpp"

#include <mutex>
#include <vector>

#include <fcntl.h>

namespace squall {
namespace {

constexpr std::size_t most = 8;

struct Kept {
  std::mutex mutex;
  std::vector<int> numbers;  // open on nothing
};

// Never destroyed: the kernel closes them.
Kept& kept() {
  static auto* const all = new Kept;
  return *all;
}

}  // namespace

void keep_last_descriptors() {
  auto& all = kept();
  std::lock_guard lock{all.mutex};
  while (all.numbers.size() < most) {
    const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (number < 0) return;
    all.numbers.push_back(number);
  }
}

Fd among_the_last(Fd fd) {
  auto& all = kept();
  std::lock_guard lock{all.mutex};
  if (all.numbers.empty()) {
    Fd lowest{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)};
    return lowest && lowest.get() < fd.get() ? std::move(lowest) : std::move(fd);
  }
  const int number = all.numbers.back();
  if (::dup3(fd.get(), number, O_CLOEXEC) != number) return fd;
  all.numbers.pop_back();
  return Fd{number};
}

}  // namespace squall
