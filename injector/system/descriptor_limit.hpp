// How many descriptors this process may have (RLIMIT_NOFILE, getrlimit(2)).
#pragma once

#include <cstddef>

#include <sys/types.h>

namespace squall {

// As many as the hard limit allows: the soft one is low for the sake of programs that use select(2), which we
// do not.
void raise_descriptor_limit();
// Sees to it that the process may have so many more than are open, and returns how many it may have: fewer
// where its hard limit is lower, which only CAP_SYS_RESOURCE raises.
std::size_t make_room_for_descriptors(std::size_t more);
// A process that was executed has the limit again that this one was started with.
void restore_descriptor_limit(pid_t child);

}  // namespace squall
