#include "injector/system/passed_descriptor.hpp"

#include <cstring>

#include <sys/socket.h>

namespace squall {
namespace {

union Passed {
  cmsghdr head;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

bool send_descriptor(int through, char byte, int fd) {
  iovec part{&byte, 1};
  Passed passed{};
  passed.head = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
  std::memcpy(CMSG_DATA(&passed.head), &fd, sizeof fd);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &passed;
  message.msg_controllen = sizeof passed;
  return ::sendmsg(through, &message, MSG_NOSIGNAL) == 1;
}

ssize_t receive_with_descriptor(int from, std::span<char> bytes, Fd& fd, int flags) {
  iovec part{bytes.data(), bytes.size()};
  Passed passed{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &passed;
  message.msg_controllen = sizeof passed;
  const auto got = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC | flags);
  if (got > 0 && message.msg_controllen > 0) {
    int came = -1;
    std::memcpy(&came, CMSG_DATA(&passed.head), sizeof came);
    fd = Fd{came};
  }
  return got;
}

}  // namespace squall
