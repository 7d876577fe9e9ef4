// Every alert source and every host tells times by a clock of its own. What such a clock said beside ours,
// again and again through a run, brings its times to the run's own time line, with the error that is left; a
// step of it is seen there, too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace squall {

// One "clock" of the record.
struct ClockReading {
  std::int64_t t = 0;         // when it was taken: monotonic, since the run's start
  bool known = true;          // false: that clock could not be asked
  std::int64_t zero_ns = 0;   // what that clock said at t = 0
  std::int64_t error_ns = 0;  // zero_ns is right within this, either way
  bool stepped = false;       // it does not agree with the reading before
  std::int64_t held_t = 0;    // where it stepped: until when the reading before was seen to hold
};

// A moment on the run's time line, and between what it surely lies.
struct Instant {
  std::int64_t t = 0, early_t = 0, late_t = 0;
  bool known = true;  // false: the clock that told it could not be compared with ours
  static Instant exactly(std::int64_t t) { return {t, t, t, true}; }
  std::int64_t error_ns() const { return late_t - early_t; }
};

class Clocks {
 public:
  void add(const std::string& whose, const ClockReading&);
  // Something was heard of it at all; records from before clocks were compared know none.
  bool heard(const std::string& whose) const { return readings_.contains(whose); }
  bool known(const std::string& whose) const;
  // The moment that this clock called `wall_ns`, heard of at `seen_t`, so not later than that. Where a step
  // leaves several, those after `likely_from_t` are meant.
  Instant bring(const std::string& whose, std::int64_t wall_ns, std::int64_t seen_t,
                std::int64_t likely_from_t) const;
  const std::map<std::string, std::vector<ClockReading>>& all() const { return readings_; }
  bool empty() const { return readings_.empty(); }

 private:
  std::map<std::string, std::vector<ClockReading>> readings_;
};

}  // namespace squall
