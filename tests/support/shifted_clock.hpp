// A clock that programs started from here see instead of CLOCK_REALTIME; see shifted_clock.cpp.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall::test {

class ShiftedClock {
 public:
  explicit ShiftedClock(double seconds) { set(seconds); }
  // From the next look at it on, in every program that runs by it.
  void set(double seconds) {
    const auto ns = static_cast<std::int64_t>(seconds * 1e9);
    std::fstream file{path(), file_is_there_ ? std::ios::in | std::ios::out | std::ios::binary
                                             : std::ios::out | std::ios::binary};
    file.write(reinterpret_cast<const char*>(&ns), sizeof ns);
    file_is_there_ = true;
  }
  // A script that starts `program` by this clock, with its arguments.
  std::string script(const std::string& program) const {
    const auto out = folder_.write("by-another-clock",
                                   fmt::format("#!/bin/sh\nexport LD_PRELOAD={}/libshifted_clock.so "
                                               "SHIFTED_CLOCK={} ASAN_OPTIONS=verify_asan_link_order=0\n"
                                               "exec {} \"$@\"\n",
                                               bin_dir(), path(), program));
    std::filesystem::permissions(out, std::filesystem::perms::owner_all);
    return out;
  }

 private:
  std::string path() const { return (folder_.path() / "shift").string(); }
  TemporaryDirectory folder_;
  bool file_is_there_ = false;
};

}  // namespace squall::test
