// Pipes to splice(2) through: a connection borrows one while bytes are on their way, so that idle ones cost
// nothing.
#pragma once

#include <cstddef>
#include <vector>

#include "injector/system/process.hpp"

namespace squall::proxy {

struct Pipe {
  Fd read, write;
  std::size_t holds = 0;
  explicit operator bool() const { return static_cast<bool>(read); }
};

class Pipes {
 public:
  // Empty where there are no more descriptors.
  Pipe take();
  // One that holds bytes is closed, with them.
  void give_back(Pipe);

 private:
  std::vector<Pipe> free_;
};

}  // namespace squall::proxy
