#include "injector/session/doctor.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

const Capability queue{.mechanism = "userland queue",
                       .possible = true,
                       .chosen = true,
                       .missing = "",
                       .note = "not in the root: (mkdir /a && mount b)",
                       .measures = "each packet"};
const Capability netem{.mechanism = "netem",
                       .possible = false,
                       .chosen = false,
                       .missing = "sch_netem",
                       .note = "",
                       .measures = "each packet"};
const Capability proxy{.mechanism = "proxy",
                       .possible = true,
                       .chosen = true,
                       .missing = "",
                       .note = queue.note,
                       .measures = "what passes"};

TEST(Doctor, says_once_what_holds_for_several_faults) {
  auto unseen = netem;
  unseen.measures = "something else";
  EXPECT_EQ(doctor_text({{"network.delay", {netem, queue}},
                         {"tcp.latency", {proxy}},
                         {"network.loss", {netem, queue}},
                         {"tcp.down", {netem}},
                         {"tcp.reset_peer", {unseen}}}),
            "✓ network.delay, network.loss\n"
            "    ✗ netem, missing [2]\n"
            "    ✓ userland queue ← would be used, note [1]\n"
            "        measured: each packet\n"
            "✓ tcp.latency\n"
            "    ✓ proxy ← would be used, note [1]\n"
            "        measured: what passes\n"
            "✗ tcp.down, tcp.reset_peer\n"  // how the effect would be measured is not told of what cannot be
            "    ✗ netem, missing [2]\n"
            "\n[1] not in the root: (mkdir /a && mount b)\n"
            "[2] sch_netem\n"
            "\n3 of 5 faults are possible here; `squall faults NAME` tells about one\n");
}

TEST(Doctor, keeps_to_100_columns_and_a_command_on_one_line) {
  auto long_one = netem;
  const std::string command = "(mkdir /run/net_cls && mount -t cgroup -o net_cls net_cls /run/net_cls)";
  long_one.missing =
      "a controller that tells the processes apart, which this machine has not mounted anywhere at this "
      "moment " +
      command;
  std::vector<Examined> all;
  for (auto* fault : {"network.delay", "network.loss", "network.duplicate", "network.corrupt",
                      "network.reorder", "network.rate", "network.impair"})
    all.push_back({fault, {long_one}});
  const auto text = doctor_text(all);
  EXPECT_NE(text.find("        " + command + "\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  network."), std::string::npos) << text;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
    EXPECT_LE(text.find('\n', at) - at, 104U) << text;  // bytes: a mark has three
}

TEST(Doctor, tells_each_fault_in_full_to_machines) {
  const auto out = doctor_json({{"network.delay", {netem, queue}}, {"network.loss", {netem, queue}}});
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[1].at("mechanism").as_string(), "userland queue");
  EXPECT_EQ(out[1].at("options").at(0).at("missing").as_string(), "sch_netem");
}

}  // namespace
}  // namespace squall
