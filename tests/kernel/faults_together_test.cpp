// Network faults on the same packets at once.
#include <thread>

#include <gtest/gtest.h>

#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

using testing::ping;
using testing::Pings;
using testing::RunFault;

class FaultsTogether : public testing::PacketsBy {};

// A busy machine makes round trips longer, but never all attempts' by a whole delay.
TEST_P(FaultsTogether, one_that_begins_makes_no_packet_wait_twice) {
  constexpr double delay_ms = 300;
  double longest = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    auto delay = fault("network.delay", {{"delay", "300ms"}, {"direction", "in"}});
    delay.apply();
    Pings pings;
    std::thread stream{[&] { pings = ping("10.99.0.2", port, 100, 10'000); }};
    ::usleep(500'000);
    RunFault partition{"network.partition", {{"to", boost::json::array{"10.200.0.0/24"}}}, {{"interface", "sqa"}}};
    partition.apply();
    stream.join();
    EXPECT_EQ(pings.lost(), 0U);
    ASSERT_GT(pings.quantile(0.9), 0.9 * delay_ms) << "the stream was over before the fault: nothing was tested";
    longest = pings.quantile(1);
    if (longest < 1.5 * delay_ms) return;
  }
  ADD_FAILURE() << "a round trip of " << longest << " ms through a delay of " << delay_ms << " ms";
}

INSTANTIATE_TEST_SUITE_P(Userland, FaultsTogether, ::testing::Values("userland"));

}  // namespace
}  // namespace squall
