// Faults on packets whose devices, filters and rules somebody takes away while they are in force: no dose
// stays verified.
#include <algorithm>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/host/rules/detour_rules.hpp"
#include "injector/host/rules/nftables.hpp"
#include "injector/host/rules/owned_table.hpp"
#include "injector/system/process.hpp"
#include "tests/kernel/delay_by.hpp"

namespace squall {
namespace {

using testing::OwnGroup;
using testing::ping;
using testing::put_clsact_there;
using testing::RunFault;
using testing::ServerProcess;
using testing::shell;
using testing::UdpEcho;

class Footing : public testing::NetworkDelayBy {
 protected:
  void bring_in_force(RunFault& fault) const {
    fault.apply();
    testing::ping_until_verified(fault, [&] { ping("10.99.0.2", port, 30, gap_us()); });
    const auto dose = fault->measure();
    EXPECT_TRUE(dose.verified || dose.reason.starts_with("expected a median of "))
        << dose.reason;  // a busy machine is late
    EXPECT_TRUE(ineffective(fault).empty());
  }
  static boost::json::object short_delay() { return {{"delay", "20ms"}}; }
  static std::vector<std::string> ineffective(RunFault& fault) {
    std::vector<std::string> out;
    for (auto& event : fault->events())
      if (event.event == "fault.ineffective") out.emplace_back(event.with.at("why").as_string());
    return out;
  }
  // Told once, and in the dose from then on, after the end as well.
  static void expect_told(RunFault& fault, const std::string& what, const char* after_undo = "") {
    auto told = ineffective(fault);
    // Whoever looked just before, as measure() does, is not made to look again within the same moment.
    for (const auto until = monotonic_ns() + 2'000'000'000; told.empty() && monotonic_ns() < until;
         told = ineffective(fault))
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
    ASSERT_EQ(told.size(), 1U) << what;
    EXPECT_NE(told[0].find(what), std::string::npos) << told[0];
    EXPECT_NE(told[0].find(" UTC"), std::string::npos) << "not when";
    EXPECT_TRUE(ineffective(fault).empty()) << "once";
    for (const bool over : {false, true}) {
      const auto dose = fault->measure();
      EXPECT_FALSE(dose.verified) << what;
      EXPECT_NE(dose.reason.find(what), std::string::npos) << dose.reason;
      if (!over) EXPECT_EQ(fault.undo(), after_undo);
    }
  }
  // The device that netem, or the tap, is.
  static std::string own_device(const RunFault& fault, const char* verb) {
    for (auto& inverse : fault.inverses())
      if (inverse.verb == verb)
        return std::string(inverse.with.at(inverse.with.contains("device") ? "device" : "name").as_string());
    return "";
  }
};

INSTANTIATE_TEST_SUITE_P(By, Footing, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(Footing, what_was_put_at_the_device_is_taken_away) {
  if (!kernel()) return;
  for (auto& [command, told] :
       {std::pair{"tc qdisc del dev sqa clsact",
                  "somebody removed clsact, and our filter with it, from sqa egress"},
        std::pair{"tc filter del dev sqa egress", "somebody removed our filter from sqa egress"}}) {
    auto fault = delay(short_delay());
    bring_in_force(fault);
    shell(command);
    EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
    expect_told(fault, told);
  }
}

TEST_P(Footing, a_device_of_ours_is_taken_away_and_packets_flow_again) {
  for (auto* act : {"link delete", "link set down dev"}) {
    auto fault = delay(short_delay());
    bring_in_force(fault);
    const auto device = own_device(fault, kernel() ? "ifb.delete" : "link.delete");
    ASSERT_NE(device, "");
    shell(fmt::format("ip {} {}", act, device));
    EXPECT_EQ(ping("10.99.0.2", port, 5, 1'000, 100).lost(), 5U) << "nothing is tested";
    const auto dose = fault->measure();
    EXPECT_FALSE(dose.verified);
    EXPECT_GE(dose.measured.at("packets_lost_to_an_outage").to_number<int>(), 5);
    EXPECT_EQ(ping("10.99.0.2", port, 20, 1'000).lost(), 0U);
    EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
    expect_told(fault, "which was an outage");
    EXPECT_EQ(shell("ip -o link | grep -c squall || true"), "0\n");
  }
}

TEST_P(Footing, netem_is_taken_away_or_changed) {
  if (!kernel()) return;
  for (auto* act : {"del dev {} root", "replace dev {} root netem delay 1ms"}) {
    auto fault = delay(short_delay());
    bring_in_force(fault);
    shell("tc qdisc " + fmt::format(fmt::runtime(act), own_device(fault, "ifb.delete")));
    expect_told(fault, std::string(act).starts_with("del") ? "somebody removed netem from our device"
                                                           : "somebody changed netem on our device");
  }
}

// Rules on a device know it by its name, a filter by its number.
TEST_P(Footing, the_device_is_renamed) {
  auto fault = delay(short_delay());
  bring_in_force(fault);
  shell(
      "ip link set sqa down && ip link set sqa name sqx && ip link set sqx up && ip addr replace "
      "10.99.0.1/24 dev sqx");
  if (kernel()) {
    EXPECT_GT(ping("10.99.0.2", port, 30, gap_us(), 3'000).median(), 15);
    EXPECT_TRUE(ineffective(fault).empty());
    return;
  }
  expect_told(fault, "sqa was found renamed to sqx at ");
  EXPECT_LT(undelayed_ms("10.99.0.2", port), 15);
}

TEST_P(Footing, one_of_all_devices_is_renamed) {
  if (kernel()) return;
  auto fault = delay(short_delay(), "any");
  bring_in_force(fault);
  shell(
      "ip link set sqa down && ip link set sqa name sqx && ip link set sqx up && ip addr replace "
      "10.99.0.1/24 dev sqx");
  fault->measure();
  ping("10.99.0.2", port, 1, 0, 3'000);
  if (undelayed_ms("10.99.0.2", port) >= 15)
    return;  // before Linux 6.16 rules stay at a device that is renamed
  for (int i = 0; i < 20 && fault->measure().verified; ++i)
    ping("10.99.0.2", port, 30, gap_us());
  EXPECT_NE(fault->measure().reason.find("which came up, or was renamed, since the fault began"),
            std::string::npos)
      << fault->measure().reason;
}

// The kernel drops what waits in its queues where anybody removes a hook of the namespace.
TEST_P(Footing, a_delay_that_loses_many_is_no_verified_delay) {
  if (kernel()) return;
  const nft::Chain chain{nft::Family::inet, "sqother", "arriving"};
  OwnedTable others;
  netlink::Messages add, remove;
  nft::begin_batch(add);
  nft::add_table(add, chain.family, chain.table);
  nft::add_base_chain(add, chain, {0, 0, ""});  // NF_INET_PRE_ROUTING
  nft::end_batch(add);
  others.add(add);
  auto fault = delay({{"delay", "200ms"}, {"direction", "in"}});
  bring_in_force(fault);
  // Some wait at that moment.
  const Fd here{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
  std::thread remover{[&] {
    if (::setns(here.get(), CLONE_NEWNET) != 0) return;
    ::usleep(100'000);
    nft::begin_batch(remove);
    nft::delete_table(remove, chain.family, chain.table);
    nft::end_batch(remove);
    others.remove(remove, chain.table);
  }};
  const auto lost = ping("10.99.0.2", port, 100, 1'000, 500).lost();
  remover.join();
  ASSERT_GT(lost, 10U) << "nothing is tested";
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find("were lost besides, which nobody asked for"), std::string::npos) << dose.reason;
}

TEST_P(Footing, a_process_is_moved_to_another_cgroup) {
  if (kernel()) return;
  const OwnGroup group, other{"-other"};
  const ServerProcess server{[] { return std::make_shared<UdpEcho>(port); }, group.folder};
  RunFault fault{"network.delay", {{"delay", "20ms"}, {"direction", "in"}}, {{"pid", server.pid()}}};
  fault.apply();
  testing::ping_until_verified(fault, [] { ping("127.0.0.1", port, 30, 1'000); });
  ASSERT_TRUE(fault->measure().verified) << fault->measure().reason;
  std::ofstream{other.folder + "/cgroup.procs"} << server.pid();
  expect_told(fault, " was moved to the cgroup ");
}

// Of any interface, what goes by one that comes later is not hit.
TEST_P(Footing, traffic_goes_by_a_device_that_came_later) {
  const ServerProcess other_end{[this] {
    network.go_to_the_other_end();
    return std::make_shared<int>(0);
  }};
  auto fault = delay(short_delay(), "any");
  bring_in_force(fault);
  shell("ip link add sqc type veth peer name sqd && ip link set sqd netns " +
        std::to_string(other_end.pid()) + " && ip addr add 10.98.0.1/24 dev sqc && ip link set sqc up");
  network.at_the_other_end([] { shell("ip addr add 10.98.0.2/24 dev sqd && ip link set sqd up"); });
  ping("10.98.0.2", port, 1, 0, 3'000);
  EXPECT_EQ(ping("10.98.0.2", port, 60, gap_us()).lost(), 0U);
  const auto dose = fault->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find(" packets went by sqc, which came up, or was renamed, since the fault began"),
            std::string::npos)
      << dose.reason;
  const auto events = fault->events();
  EXPECT_EQ(
      std::count_if(events.begin(), events.end(), [](auto& one) { return one.event == "fault.passed_by"; }),
      1);
}

// Nobody but their owner can take such rules away; where they are gone all the same, that is seen.
TEST(LostRules, are_named) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::OwnNetwork network;
  DetourRules rules;
  rules.table = "sqlost";
  rules.fate = DetourRules::Fate::drop;
  HoldPoint arriving, leaving;
  arriving.interface = 1;
  leaving.at = HoldPoint::At::leaving;
  leaving.device = "sqa";
  rules.points = {arriving, leaving};
  EXPECT_EQ(lost_rules(rules), "our nftables table inet sqlost");
  OwnedTable table;
  auto add = add_detour_rules(rules);
  table.add(add);
  EXPECT_EQ(lost_rules(rules), "");
  netlink::Messages gone;
  nft::begin_batch(gone);
  nft::delete_table(gone, nft::Family::netdev, "sqlost");
  nft::end_batch(gone);
  table.change(gone);
  EXPECT_EQ(lost_rules(rules), "our nftables table netdev sqlost");
}

}  // namespace
}  // namespace squall
