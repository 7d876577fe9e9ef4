// network.delay on real packets, in network namespaces of the test's own, by either mechanism.
#pragma once

#include <functional>

#include "tests/kernel/packets_by.hpp"

namespace squall::testing {

// What is promised: within 5 % and 1 ms of the prescribed, on a machine whose own timers are not late.
inline bool as_prescribed(double measured_ms, double base_ms, double prescribed_ms, double late_ms = 0) {
  const double more = measured_ms - base_ms - prescribed_ms;
  return more >= -0.05 * prescribed_ms - 1 && more <= 0.05 * prescribed_ms + 1 + 2 * late_ms;
}

// A busy machine makes packets later, never earlier: one quiet window of a few is enough.
inline void expect_delay(const std::function<double()>& measure_ms, double base_ms, double prescribed_ms) {
  double measured = 0, late = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    TimerLateness timers;
    measured = measure_ms();
    late = timers.most_ms();
    if (as_prescribed(measured, base_ms, prescribed_ms, late)) return;
  }
  ADD_FAILURE() << measured << " ms, " << base_ms << " ms without, prescribed are " << prescribed_ms << " ms; timers are late by " << late << " ms";
}

inline double delay_of(const Dose& dose) { return dose.measured.contains("delay_ms") ? dose.measured.at("delay_ms").as_double() : -1; }

class NetworkDelayBy : public PacketsBy {
 protected:
  void SetUp() override {
    PacketsBy::SetUp();
    if (IsSkipped()) return;
    // A guest that has just booted is busy with itself.
    for (int attempt = 0; attempt < 10 && (attempt == 0 || far_base > 3); ++attempt) far_base = far_median();
  }
  RunFault delay(boost::json::object with, const char* on = "sqa") const { return fault("network.delay", std::move(with), on); }
  double far_median() const { return ping("10.99.0.2", port, 60, gap_us()).median(); }

  double far_base = 0;
};

// Where clsact is on the device already, netem harms nobody either.
inline void put_clsact_there() { shell("tc qdisc add dev sqa clsact"); }

}  // namespace squall::testing
