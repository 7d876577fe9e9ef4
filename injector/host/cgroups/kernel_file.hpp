// A value in a file of the kernel's: cpu.max, memory.high, pids.max, oom_score_adj, a sysctl (cgroups(7),
// proc(5)).
#pragma once

#include <string>

#include "injector/change/transaction.hpp"

namespace squall::kernel_file {

// Writes `value` to the file; the inverse writes back what it held, where `value` is still there, and is a
// conflict otherwise. `what` names the attempt ("limit the CPU time of /a to 20 %"). `reads_as` is how the
// kernel shows the value, where that differs ("max" written to cpu.max reads as "max 100000"). Throws
// std::system_error where the file cannot be read. A file of a cgroup or of a process goes with it, and one
// of the same name later is left alone; sysctls are as the boot scripts set them after a reboot.
//
// `at_first` is what the file holds as soon as it is there, where a controller brings it that is switched on
// by the same transaction; "" where it has to be there already.
void set(Transaction&, const std::string& file, const std::string& value, const std::string& what,
         const std::string& reads_as = "", const std::string& at_first = "");

}  // namespace squall::kernel_file
