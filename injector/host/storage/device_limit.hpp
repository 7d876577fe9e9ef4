// One limit that a cgroup puts on one block device: a field of io.max (v2) or a line of a blkio.throttle file
// (v1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "injector/change/transaction.hpp"
#include "injector/host/cgroups/cgroup.hpp"

namespace squall::cgroup {

enum class Limited { read_rate, write_rate, read_iops, write_iops };

// Bytes or operations per second; nothing: not limited.
using Limit = std::optional<std::uint64_t>;
std::string limit_text(Limit);  // "1048576", "no limit"

// Where the limit stands.
struct DeviceLimit {
  std::string file;
  std::string device;                        // "8:0"
  std::string field;                         // "wbps" in io.max, "" where a line has only the value
  std::string to_string() const;             // "wbps of 8:0 in …/io.max"
  std::string line(Limit) const;             // what to write: "8:0 wbps=max", "8:0 0"
  Limit parse(std::string_view text) const;  // from what the file holds
};

DeviceLimit device_limit(Version, const std::string& folder, const std::string& device, Limited);

// What stands there now; an error (errno) where the file cannot be read.
tl::expected<Limit, int> read_limit(const DeviceLimit&);
void write_limit(const DeviceLimit&, Limit);  // throws std::system_error

// The values that a limit takes on its way to the full dose: from the full value up in steps of a tenth, a
// thousand times looser at the top. Undo must know our own values again even when the injector died half-way
// up a ramp. A range would swallow any limit that an operator sets in between, so only these few odd values
// count as ours.
class Ladder {
 public:
  explicit Ladder(std::uint64_t full) : full_(full) {}
  // Level 0 is the loosest, 1 the full dose; never looser than what stood there before.
  std::uint64_t at(double level, Limit before) const;
  bool holds(std::uint64_t value) const;
  std::uint64_t full() const { return full_; }

 private:
  static constexpr int rungs = 72;  // 1.1^72 is about 1000
  std::uint64_t rung(int) const;
  std::uint64_t full_;
};

// Limits the device at `level` of the ladder. Its inverse puts the previous value of that field of that
// device back, where what stands there is still one of ours.
void limit_device(Transaction&, const DeviceLimit&, const Ladder&, double level, Limit before);

}  // namespace squall::cgroup
