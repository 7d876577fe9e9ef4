// Processes that do not run though nothing is wrong with them: stopped by a signal, or in a frozen cgroup.
#pragma once

#include <sys/types.h>

namespace squall {

// By SIGSTOP or the like, by a debugger, or by a freezer.
bool suspended(pid_t);
// Moves the process out of a frozen group of the freezer hierarchy of cgroup v1, in which it does not even
// die of SIGKILL. Never throws; where it is in none, nothing is done.
void leave_frozen_group(pid_t) noexcept;

}  // namespace squall
