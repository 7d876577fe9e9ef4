#include "injector/session/touched.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

class Aimed : public Fault {
 public:
  std::string mechanism() const override { return "made"; }
  std::vector<std::string> targets() const override { return {"eth0", "redis-server[4711] in /stack/redis"}; }
  std::vector<std::string> claims() const override { return {"packets of eth0 out"}; }
  Reach reach() const override { return {}; }
  void apply(Transaction&) override {}
  Dose measure() override { return {}; }
};

Touched touched() {
  Touched out{"1a2b3c4d"};
  std::vector<Change> changes(1);
  changes[0].inverse = Inverse{"file.restore", {{"file", "/sys/fs/cgroup/web/io.max"}, {"device", "eth1"}}};
  out.add(Aimed{}, changes);
  return out;
}

const HostState before{{"link eth0", "device 2 up"},
                       {"link eth1", "device 3 up"},
                       {"link eth2", "device 4 up"},
                       {"address 10.0.0.1/24 of eth0", "scope 0"},
                       {"route to 10.9.0.0/16 in table 254, metric 0", "type 1 by 10.0.0.9 on eth1"},
                       {"mount /data", "ext4"}};

std::vector<std::string> ours(HostState now) {
  const auto compared = touched().compare(before, now);
  return differences(compared.before, compared.now);
}

HostState changed(const std::string& thing, const std::string& state) {
  auto out = before;
  if (state.empty())
    out.erase(thing);
  else
    out[thing] = state;
  return out;
}

TEST(Touched, what_others_make_meanwhile_is_none_of_ours) {
  for (auto* thing :
       {"link veth7", "qdisc root of eth2", "nftables table inet firewall", "mount /run/netns/theirs",
        "cgroup /sys/fs/cgroup/build/7 cpu.max", "cgroup /sys/fs/cgroup/web/child io.max",
        "process sleep[99]", "sysctl net.ipv4.ip_forward", "route to 10.7.0.0/16 in table 254, metric 0"}) {
    const auto now = changed(thing, "something on eth2");
    EXPECT_EQ(ours(now), std::vector<std::string>{}) << thing;
    EXPECT_EQ(touched().compare(before, now).others.size(), 1u) << thing;
  }
  EXPECT_EQ(ours(changed("mount /data", "")), std::vector<std::string>{});
}

TEST(Touched, what_is_left_of_ours_and_what_the_targets_lost_is) {
  for (auto* thing :
       {"link sq1a2b3c4d1", "qdisc root of eth0", "filter at clsact egress of eth1, preference 1, handle 1",
        "nftables table inet sq1a2b3c4d", "cgroup /sys/fs/cgroup/web io.max",
        "cgroup /sys/fs/cgroup/blkio/stack/redis blkio.throttle.read_bps_device",
        "process redis-server[4711]"})
    EXPECT_EQ(ours(changed(thing, "left")).size(), 1u) << thing;
  EXPECT_EQ(ours(changed("link eth0", "device 2 down")).size(), 1u);
  EXPECT_EQ(ours(changed("address 10.0.0.1/24 of eth0", "")).size(), 1u);
  EXPECT_EQ(ours(changed("route to 10.9.0.0/16 in table 254, metric 0", "")).size(), 1u);
}

TEST(Touched, of_limits_by_device_in_one_file_only_the_line_of_its_own_device_counts) {
  Touched touched{"1a2b3c4d"};
  std::vector<Change> changes(1);
  changes[0].inverse =
      Inverse{"cgroup.device_limit",
              {{"file", "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device"}, {"device", "7:1"}}};
  touched.add(Aimed{}, changes);
  const std::string thing = "cgroup /sys/fs/cgroup/blkio blkio.throttle.write_bps_device";
  EXPECT_EQ(touched.compare({}, {{thing, "7:0 131072"}}).others.size(), 1u);
  EXPECT_EQ(touched.compare({{thing, "7:1 5"}}, {{thing, "7:0 131072; 7:1 5"}}).others.size(), 1u);
  EXPECT_EQ(touched.compare({{thing, "7:1 5"}}, {{thing, "7:1 6"}}).others.size(), 0u);
}

TEST(Touched, what_the_policy_ignores_is_not_compared) {
  EXPECT_EQ(without({{"mount /run/docker/a", "overlay"}, {"mount /data", "ext4"}}, {"mount /run/docker/*"}),
            (HostState{{"mount /data", "ext4"}}));
}

}  // namespace
}  // namespace squall
