// The most frequent of what went by a fault, for a person who wonders why nothing of it was hit. Bounded,
// whatever comes.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace squall {

// From any thread. What comes from others is cut, and shown without control characters or bytes that are no
// ASCII.
class WentBy {
 public:
  void add(std::string_view what, std::uint64_t times = 1);
  // "db.staging.lan A (6 times), GET /health (2 times) and 3 others"; "" where nothing went by.
  std::string to_string() const;
  // The most frequent one; "" where nothing went by.
  std::string first() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> known_;
  std::uint64_t others_ = 0;
};

}  // namespace squall
