// From what a person writes (listens_on: 6379, unit: redis.service) to the processes of this host.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <sys/types.h>
#include <tl/expected.hpp>

#include "scenarios/model/selector.hpp"

namespace squall {

struct Process {
  pid_t pid = 0;
  std::uint64_t start_ticks =
      0;             // field 22 of /proc/PID/stat: with the pid, an identity that is never reused
  std::string name;  // comm
  std::string exe;
  std::string command;  // arguments joined by spaces
  uid_t uid = 0;
  std::string cgroup;                          // in the v2 hierarchy ("/" at least), "" where there is none
  std::map<std::string, std::string> cgroups;  // v1: controller → path in its hierarchy
  std::uint64_t network_namespace = 0;         // inode of /proc/PID/ns/net
  std::string to_string() const;               // "redis-server[4711]"
};

// Every process that all the given process keys select, in the order of their pids; this process, its
// ancestors and kernel threads are never among them. An error (a pid file that cannot be read, no such unit)
// is a text for a person; finding none is not an error.
tl::expected<std::vector<Process>, std::string> find_processes(const TargetSpec&);
// That there is none, and who is called so but runs another executable (a link to it, or a script): "no
// process matches exe=a".
std::string none_matches(const TargetSpec&);

// One process by its pid; nothing where it does not exist (any more).
std::optional<Process> read_process(pid_t);
// Its name and executable alone, for looks at many.
std::optional<Process> read_identity(pid_t);
// The inode of /proc/PID/ns/net; 0 where there is no such process, or it may not be seen.
std::uint64_t network_namespace_of(pid_t);
// The same pid and the same start time are still there (zombies do not count).
bool is_alive(const Process&);

}  // namespace squall
