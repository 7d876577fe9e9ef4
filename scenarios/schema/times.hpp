// Moments of the wall clock, as every JSON that others read tells them.
#pragma once

#include <cstdint>
#include <string>

namespace squall {

// Of CLOCK_REALTIME in nanoseconds: "2026-11-23T08:51:42.123Z" (RFC 3339).
std::string rfc3339(std::int64_t wall_ns);

}  // namespace squall
