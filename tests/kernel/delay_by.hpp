// network.delay on real packets, in network namespaces of the test's own, by either mechanism.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <string>

#include "tests/kernel/packets_by.hpp"

namespace squall::testing {

// What a round trip takes without a delay. A busy machine makes packets later, never earlier: no delayed one
// takes less than the quickest and its delay.
struct Base {
  double quickest_ms = 0, median_ms = 0;
  static Base of(const Pings& pings) { return {pings.quantile(0), pings.median()}; }
};

// What is promised: within 5 % and 1 ms of the prescribed, on a machine whose own timers are not late.
inline bool as_prescribed(double measured_ms, const Base& base, double prescribed_ms, double late_ms = 0) {
  const double tolerance = 0.05 * prescribed_ms + 1;
  return measured_ms - base.quickest_ms - prescribed_ms >= -tolerance &&
         measured_ms - base.median_ms - prescribed_ms <= tolerance + 2 * late_ms;
}

// One quiet window of a few is enough.
inline void expect_delay(const std::function<double()>& measure_ms, const Base& base, double prescribed_ms) {
  double measured = 0, late = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    TimerLateness timers;
    measured = measure_ms();
    late = timers.most_ms();
    if (as_prescribed(measured, base, prescribed_ms, late)) return;
  }
  ADD_FAILURE() << measured << " ms, " << base.quickest_ms << " to " << base.median_ms
                << " ms without, prescribed are " << prescribed_ms << " ms; timers are late by " << late
                << " ms";
}

// The median in the first window of a few in which it is less than that, or else in the best.
inline double least_median_ms(const std::function<Pings()>& window, double less_than_ms) {
  double least = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < 4 && least >= less_than_ms; ++attempt)
    if (const auto pings = window(); !pings.round_trips_ms.empty()) least = std::min(least, pings.median());
  return least;
}

// Pings until a dose is verified, in a few windows: a busy machine is late in one, not in the median of all.
inline void ping_until_verified(RunFault& fault, const std::function<void()>& window) {
  for (int attempt = 0; attempt < 8 && !fault->measure().verified; ++attempt)
    window();
}

inline double delay_of(const Dose& dose) {
  return dose.measured.contains("delay_ms") ? dose.measured.at("delay_ms").as_double() : -1;
}

class NetworkDelayBy : public PacketsBy {
 protected:
  void SetUp() override {
    PacketsBy::SetUp();
    if (IsSkipped()) return;
    // A guest that has just booted is busy with itself.
    for (int attempt = 0; attempt < 10 && (attempt == 0 || far_base.median_ms > 3); ++attempt)
      far_base = Base::of(far_pings());
  }
  RunFault delay(boost::json::object with, const char* on = "sqa") const {
    return fault("network.delay", std::move(with), on);
  }
  Pings far_pings() const { return ping("10.99.0.2", port, 60, gap_us()); }
  double far_median() const { return far_pings().median(); }
  // Of what nothing delays.
  double undelayed_ms(const std::string& address, std::uint16_t to, double less_than_ms = 15) const {
    return least_median_ms([&] { return ping(address, to, 30, gap_us()); }, less_than_ms);
  }

  Base far_base;
};

// Where clsact is on the device already, netem harms nobody either.
inline void put_clsact_there() {
  shell("tc qdisc add dev sqa clsact");
}

}  // namespace squall::testing
