#include "tests/support/own_names.hpp"

#include <stdexcept>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tests/support/own_network.hpp"

namespace squall::testing {

OwnNames::OwnNames(const std::string& hosts, const std::string& resolv_conf)
    : before_(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC)),
      directory_(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (::unshare(CLONE_NEWNS) != 0) throw std::runtime_error("no mount namespace");
  shell("mount --make-rprivate /");
  put(resolv_conf, "/etc/resolv.conf");
  become(hosts);
}

OwnNames::~OwnNames() {
  ::setns(before_, CLONE_NEWNS);
  if (::fchdir(directory_) != 0) ::perror("go back to the working directory");
  ::close(before_);
  ::close(directory_);
}

void OwnNames::become(const std::string& hosts) {
  put(hosts, "/etc/hosts");
}

// One mount after another, so that nobody reads half a file.
void OwnNames::put(const std::string& content, const std::string& over) {
  const auto file = folder_.write(fmt::format("names{}", ++count_), content);
  shell(fmt::format("mount --bind {} {}", file.string(), over));
}

}  // namespace squall::testing
