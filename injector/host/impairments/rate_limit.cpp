#include "injector/host/impairments/rate_limit.hpp"

#include <algorithm>

namespace squall {

std::optional<std::int64_t> RateLimit::pass(std::int64_t now, std::uint32_t bytes, double level,
                                            bool admitted) {
  if (level <= 0) return now;
  const double ns_per_byte = 1e9 * level / shape_.bytes_per_second;
  const auto at = static_cast<double>(now);
  const double begins = std::max(free_at_, at - static_cast<double>(shape_.bucket_bytes) * ns_per_byte);
  if (!admitted && begins - at > static_cast<double>(shape_.queue_bytes) * ns_per_byte) return {};
  free_at_ = begins + bytes * ns_per_byte;
  return std::max(now, static_cast<std::int64_t>(free_at_));
}

}  // namespace squall
