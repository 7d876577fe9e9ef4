// The worker of an overlay: answers the kernel. Its keeper starts another where it dies.
#pragma once

#include <string>

#include "injector/overlay/shared.hpp"

namespace squall::overlay {

enum Ended : int {
  done = 0,  // nobody uses the overlay any more
  cannot_take_over =
      3,  // this kernel does not send again what a predecessor left unanswered (before Linux 6.9)
};

// A worker's whole life; `device` is /dev/fuse with the file system's connection. Where the keeper dies, the
// overlay is detached, and those who have files open through it are served to the end.
int serve(Shared&, int device, pid_t keeper, const std::string& tag);

}  // namespace squall::overlay
