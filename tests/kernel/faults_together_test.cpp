// Network faults on the same packets at once.
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "tests/kernel/packets_by.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using testing::OwnGroup;
using testing::ping;
using testing::Pings;
using testing::RunFault;
using testing::ServerProcess;
using testing::UdpEcho;

class FaultsTogether : public testing::PacketsBy {};

// Through a delay of 300 ms while another fault begins: a busy machine makes round trips longer, but never
// all attempts' by a whole delay.
void expect_none_waits_twice(const std::function<RunFault()>& make_delay, const char* address,
                             std::uint16_t port, const std::function<RunFault()>& make_other) {
  constexpr double delay_ms = 300;
  double longest = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    auto delay = make_delay();
    delay.apply();
    Pings pings;
    std::jthread stream{[&] { pings = ping(address, port, 100, 10'000); }};
    ::usleep(500'000);
    auto other = make_other();
    other.apply();
    stream.join();
    EXPECT_EQ(pings.lost(), 0U);
    ASSERT_GT(pings.quantile(0.9), 0.9 * delay_ms)
        << "the stream was over before the fault: nothing was tested";
    longest = pings.quantile(1);
    if (longest < 1.5 * delay_ms) return;
  }
  ADD_FAILURE() << "a round trip of " << longest << " ms through a delay of " << delay_ms << " ms";
}

TEST_P(FaultsTogether, one_that_begins_makes_no_packet_wait_twice) {
  expect_none_waits_twice(
      [this] { return fault("network.delay", {{"delay", "300ms"}, {"direction", "in"}}); }, "10.99.0.2", port,
      [] {
        return RunFault{
            "network.partition", {{"to", boost::json::array{"10.200.0.0/24"}}}, {{"interface", "sqa"}}};
      });
}

TEST_P(FaultsTogether, one_at_the_same_receiver_makes_no_packet_wait_twice) {
  const OwnGroup group;
  const ServerProcess server{[] { return std::make_shared<UdpEcho>(port); }, group.folder};
  const ServerProcess other{testing::echo_at(other_port)};
  const boost::json::object on{{"pid", server.pid()}};
  expect_none_waits_twice(
      [&] { return RunFault{"network.delay", {{"delay", "300ms"}, {"direction", "in"}}, on}; }, "127.0.0.1",
      port, [] { return RunFault{"network.refuse", {}, {{"listens_on", other_port}}}; });
}

INSTANTIATE_TEST_SUITE_P(Userland, FaultsTogether, ::testing::Values("userland"));

}  // namespace
}  // namespace squall
