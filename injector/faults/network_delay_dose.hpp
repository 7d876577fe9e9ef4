// The dose of a delay, from the times that packets were held: the same for either mechanism.
#pragma once

#include "injector/faults/network_delay.hpp"
#include "injector/host/delay_engine.hpp"

namespace squall::faults {

struct DelayDose {
  const HoldTimes* held = nullptr;  // of packets that came while the dose was full
  std::uint64_t packets = 0;        // delayed so far, at any level
  std::uint64_t holding = 0, overflowed = 0, lost = 0;
  double level = 1;
  std::string measured_by;
};

Dose delay_dose(const DelayShape&, const DelayDose&);

}  // namespace squall::faults
