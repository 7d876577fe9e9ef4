// Control groups: where a process's group lies, and what it holds (cgroups(7)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>
#include <tl/expected.hpp>

#include "injector/change/transaction.hpp"

namespace squall::cgroup {

enum class Version { v1, v2 };

// A mounted hierarchy that has one controller.
struct Hierarchy {
  Version version = Version::v2;
  std::string point;                 // where it is mounted: "/sys/fs/cgroup/blkio"
  std::string root;                  // which group is mounted there: "/" but in a cgroup namespace
  std::string controller = "blkio";  // v1: by which /proc/PID/cgroup tells it from the others
};

// One group of a hierarchy.
struct Group {
  std::string path;    // as /proc/PID/cgroup has it: "/system.slice/redis.service"
  std::string folder;  // its control files
  bool is_root() const { return path == "/"; }
  auto operator<=>(const Group&) const = default;
};

// The hierarchy in which block I/O can be limited: v2 with the io controller before v1 with blkio, as far as
// this mount namespace sees them. An error for a person where there is neither.
tl::expected<Hierarchy, std::string> io_hierarchy();
tl::expected<Hierarchy, std::string> io_hierarchy(Version);

// The v1 hierarchy that gives sockets class ids. One that does more to processes than that is as good as
// none.
tl::expected<Hierarchy, std::string> net_cls_hierarchy();

// The group of a process by the text of its /proc/PID/cgroup, nothing where it lies outside of what is
// mounted here.
std::optional<Group> group_of(const Hierarchy&, std::string_view proc_cgroup);
std::optional<Group> group_of(const Hierarchy&, pid_t);

// Those in the group itself, not below.
std::vector<pid_t> processes(const Group&);

// Those in the group and below it.
std::vector<pid_t> processes_below(const Group&);
// Whether a group is the other one or lies below it.
bool is_within(const Group&, const Group& above);

// Why a v2 group cannot have a controller, for a person: "" where it has it, or where it can be switched on
// above it.
std::string cannot_have(const Hierarchy&, const Group&, std::string_view controller);

// The groups above and up to the root whose members may not use a controller yet (v2): where it must be
// switched on, topmost first.
std::vector<Group> lacking(const Hierarchy&, const Group&, std::string_view controller);

// Switches a controller on for the children of a v2 group (cgroup.subtree_control). Taking it back leaves it
// on, as a conflict, where somebody has come to use it since.
void enable_controller(Transaction&, const Group& parent, const std::string& controller);

// The identity of a cgroup's folder, never reused before a reboot (a kernfs node's number with its
// generation).
std::uint64_t identity(const std::string& folder);
// The folder of that identity, by its name or, where somebody gave it another one (cgroup v1), beside it; ""
// where it is gone.
std::string find_again(const std::string& folder, std::uint64_t identity);

}  // namespace squall::cgroup
