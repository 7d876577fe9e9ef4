// What processes have open, by the device it lies on (proc_pid_fd(5)).
#pragma once

#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

namespace squall {

// True where the process has a file open or mapped, or its working folder, on one of these devices (st_dev,
// or that of the mount of an open file), or the device itself open (st_rdev).
bool uses_any(pid_t, const std::set<dev_t>& devices);

// The devices (as above) of the regular files and folders, and st_rdev of the block devices, that the process
// has open, and of its working folder unless that is "/". Programs and libraries it merely runs do not count.
std::set<dev_t> devices_in_use(pid_t);

std::vector<pid_t> all_processes();

}  // namespace squall
