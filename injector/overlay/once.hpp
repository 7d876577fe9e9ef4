// What must not be done twice: a successor is asked again for what a killed worker did and did not answer. It
// is noted in the memory that outlives the worker, before and after.
#pragma once

#include <functional>

#include "injector/overlay/shared.hpp"

namespace squall::overlay {

// Which request this thread is at (fuse_in_header), set before each.
void begin_request(std::uint64_t unique);
// It was asked before, of a worker that died.
bool asked_again();

// One operation that changes something once and for all. Its note goes when this does: after the answer.
class Once {
 public:
  explicit Once(Shared&);
  ~Once();
  Once(const Once&) = delete;
  // Does it unless it was done: its errno, or 0. `tolerated` is what it fails with where it was done already
  // and nobody could note it.
  int error_of(const std::function<long()>& act, int tolerated);
  // The size of a file before it is appended to, as it was when this was asked first.
  std::int64_t size_before(std::int64_t now);
  bool known() const { return known_; }  // begun by a worker that died

 private:
  Performed* note_ = nullptr;
  bool known_ = false;
};

}  // namespace squall::overlay
