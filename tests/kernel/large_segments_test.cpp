// Doses by netem under TCP, whose senders leave it to the device to cut large segments: one of those is one
// packet to netem.
#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

class LargeSegments : public testing::PacketsBy {
 protected:
  void SetUp() override {
    PacketsBy::SetUp();
    if (!IsSkipped()) testing::shell("tc qdisc add dev sqa clsact");
  }
  // Of a stream of some seconds.
  Dose under_a_stream(const std::string& name, boost::json::object with) const {
    auto impaired = fault(name, std::move(with));
    impaired.apply();
    testing::tcp_mbit_per_second(network, "10.99.0.2", 2);
    auto out = impaired->measure();
    EXPECT_EQ(impaired.undo(), "");
    return out;
  }
  static double measured(const Dose& dose, const char* what) {
    return dose.measured.contains(what) ? dose.measured.at(what).to_number<double>() : -1;
  }
};

INSTANTIATE_TEST_SUITE_P(By, LargeSegments, ::testing::Values("kernel"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(LargeSegments, are_counted_alike_on_both_sides_of_a_share) {
  auto dose = under_a_stream("network.loss", {{"loss", "2%"}});
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(measured(dose, "loss_percent"), 2, 1);
  dose = under_a_stream("network.duplicate", {{"duplicate", "5%"}});
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(measured(dose, "duplicate_percent"), 5, 1.5);
  dose = under_a_stream("network.reorder", {{"reorder", "10%"}, {"delay", "20ms"}});
  EXPECT_TRUE(dose.verified || dose.reason.starts_with("expected a median of "))
      << dose.reason;  // a busy machine is late
  EXPECT_NEAR(measured(dose, "reorder_percent"), 10, 3);
}

// netem cuts a segment that it hits and corrupts the first packet of it alone.
TEST_P(LargeSegments, hide_how_many_packets_are_corrupted) {
  const auto dose = under_a_stream("network.corrupt", {{"corrupt", "2%"}});
  EXPECT_FALSE(dose.verified);
  EXPECT_FALSE(dose.measured.contains("corrupt_percent")) << boost::json::serialize(dose.measured);
  EXPECT_NE(dose.reason.find("large segments came"), std::string::npos) << dose.reason;
}

}  // namespace
}  // namespace squall
