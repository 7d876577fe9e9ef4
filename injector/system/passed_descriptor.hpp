// A descriptor on its way to another table of descriptors (SCM_RIGHTS in unix(7)).
#pragma once

#include <span>

#include <sys/types.h>

#include "injector/system/process.hpp"

namespace squall {

// Sends one byte and the descriptor; false with errno where the socket does not take it.
bool send_descriptor(int through, char byte, int fd);
// Reads bytes as read(2) does; a descriptor that comes with them takes the place of `fd`.
ssize_t receive_with_descriptor(int from, std::span<char> bytes, Fd& fd, int flags = 0);

}  // namespace squall
