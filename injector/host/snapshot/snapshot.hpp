// What a host looks like to Squall: everything faults may change, as texts that two moments can be compared
// by.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace squall {

// From a thing's name ("qdisc root of eth0", "cgroup /sys/fs/cgroup/a cpu.max") to its state ("htb 1: …").
using HostState = std::map<std::string, std::string>;

// Links, queueing disciplines, traffic classes and filters, and nftables of the current network namespace;
// mounts of the current mount namespace; limits of every cgroup that differ from the kernel's default; some
// sysctls; stopped processes. Counters and whatever else changes by itself are left out. What the caller may
// not read is left out too, so both snapshots of a comparison must be taken with the same privilege. Never
// throws for a host's sake.
HostState snapshot_host();

// Without what other sessions than this one made ("sq1a2b3c4d1t00", tables and devices of a doctor): that
// comes and goes with them, and is no difference that this one has to answer for.
HostState without_other_sessions(HostState, std::string_view session);

// One text for each thing that is new, gone or different; none where both are alike.
std::vector<std::string> differences(const HostState& before, const HostState& after);
// The commands that show what differs as it is now, each once: "ip -d link show eth0".
std::vector<std::string> commands_that_show_differences(const HostState& before, const HostState& after);

}  // namespace squall
