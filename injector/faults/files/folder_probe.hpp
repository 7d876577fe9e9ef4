// What an operation on a file takes through an overlay, beside the same on the bare folder: real ones on
// files without a name (O_TMPFILE), each 100 ms, in a thread of their own.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "injector/overlay/overlay.hpp"

namespace squall::faults {

struct Probed {
  std::vector<double> through_ms, bare_ms;  // of those that did not fail
  std::uint64_t failed = 0;                 // through the overlay, with the errno that is expected
  std::uint64_t failed_otherwise = 0;
  std::uint64_t total() const { return through_ms.size() + failed + failed_otherwise; }
};

class FolderProbe {
 public:
  using Kinds = std::array<bool, overlay::kinds>;
  ~FolderProbe() { stop(); }
  // Begins; the overlay is in place.
  void start(const std::shared_ptr<overlay::Overlay>&, Kinds, int expected_error);
  void forget();  // what was seen so far
  Probed seen(overlay::Kind) const;
  std::string unknown() const;  // why nothing can be seen; "" where it can
  void stop();                  // waits for an operation under way, 2 s at most

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall::faults
