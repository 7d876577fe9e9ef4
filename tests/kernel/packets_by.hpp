// Faults on packets by either mechanism, which mean the same. Most build machines lack netem: there its tests
// are skipped, and run in the lab.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall::testing {

// The parameter is the mechanism, "kernel" or "userland"; servers that echo UDP are at the other end of the
// veth pair.
class PacketsBy : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr std::uint16_t port = 7007, other_port = 7008;

  OwnNetwork network;
  std::unique_ptr<UdpEcho> far, far_other;

  void SetUp() override {
    for (auto& can : find_fault("network.impair")->doctor())
      if (can.mechanism.starts_with(kernel() ? "netem" : "userland") && !can.possible)
        GTEST_SKIP() << can.missing;
    network.at_the_other_end([&] {
      far = std::make_unique<UdpEcho>(port);
      far_other = std::make_unique<UdpEcho>(other_port);
    });
  }
  bool kernel() const { return GetParam() == std::string("kernel"); }
  // The fault on the device that leads to the other end, or on another.
  RunFault fault(const std::string& name, boost::json::object with, const char* on = "sqa") const {
    with["mechanism"] = GetParam();
    return RunFault{name, with, {{"interface", on}}};
  }
  // A guest's emulated processor needs pauses.
  unsigned gap_us() const { return kernel() ? 10'000 : 1'000; }
};

}  // namespace squall::testing
