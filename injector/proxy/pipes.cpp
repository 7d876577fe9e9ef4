#include "injector/proxy/pipes.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace squall::proxy {

Pipe Pipes::take() {
  if (!free_.empty()) {
    auto out = std::move(free_.back());
    free_.pop_back();
    return out;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return {};
  ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  return {Fd{ends[0]}, Fd{ends[1]}, 0};
}

void Pipes::give_back(Pipe pipe) {
  if (pipe && pipe.holds == 0 && free_.size() < 16) free_.push_back(std::move(pipe));
}

}  // namespace squall::proxy
