#include "injector/system/descriptor_limit.hpp"

#include <dirent.h>
#include <sys/resource.h>

namespace squall {
namespace {

rlimit current() {
  rlimit out{};
  ::getrlimit(RLIMIT_NOFILE, &out);
  return out;
}

// Asked for before each change, so that the first of them finds it as it was.
const rlimit& at_start() {
  static const auto out = current();
  return out;
}

}  // namespace

void raise_descriptor_limit() {
  at_start();
  auto limit = current();
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::size_t make_room_for_descriptors(std::size_t more) {
  std::size_t open = 0;
  if (auto* folder = ::opendir("/proc/self/fd")) {
    while (::readdir(folder))
      ++open;
    ::closedir(folder);
  }
  raise_descriptor_limit();
  auto limit = current();
  constexpr std::size_t for_others = 256;
  const auto wanted = open + more + for_others;
  if (limit.rlim_cur >= wanted) return more;
  limit.rlim_cur = limit.rlim_max = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return more;
  limit = current();
  return limit.rlim_max > open + for_others ? limit.rlim_max - open - for_others : 0;
}

void restore_descriptor_limit(pid_t child) {
  ::prlimit(child, RLIMIT_NOFILE, &at_start(), nullptr);
}

}  // namespace squall
