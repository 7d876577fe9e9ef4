#include "injector/host/descriptor_limit.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <dirent.h>
#include <sys/resource.h>

#include <fmt/format.h>

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

void make_room_for_descriptors(std::size_t more) {
  std::size_t open = 0;
  if (auto* folder = ::opendir("/proc/self/fd")) {
    while (::readdir(folder)) ++open;
    ::closedir(folder);
  }
  at_start();
  auto limit = current();
  const auto wanted = open + more + 256;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  limit.rlim_max = std::max<rlim_t>(limit.rlim_max, wanted);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    throw std::runtime_error(fmt::format("have {} descriptors: {} (needs CAP_SYS_RESOURCE, or a higher limit of open files)", wanted, std::strerror(errno)));
}

void restore_descriptor_limit(pid_t child) { ::prlimit(child, RLIMIT_NOFILE, &at_start(), nullptr); }

}  // namespace squall
