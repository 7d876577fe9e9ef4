// A path of limited bandwidth: a token bucket with a queue before it (tc-tbf(8)), reckoned ahead for each
// packet.
#pragma once

#include <cstdint>
#include <optional>

namespace squall {

struct RateShape {
  double bytes_per_second = 0;
  std::int64_t bucket_bytes = 0;  // what may pass at once after a pause
  std::int64_t queue_bytes = 0;   // what waits at most; the rest is lost, as at a full router
};

class RateLimit {
 public:
  explicit RateLimit(const RateShape& shape) : shape_(shape) {}
  // When a packet that is at the bottleneck at `now` has passed it (nanoseconds); nothing where the queue is
  // full. At a lower level the path is wider: half of the dose is twice the rate. `admitted`: there is room
  // for it, however many wait.
  std::optional<std::int64_t> pass(std::int64_t now, std::uint32_t bytes, double level,
                                   bool admitted = false);

 private:
  RateShape shape_;
  double free_at_ = 0;  // nanoseconds
};

}  // namespace squall
