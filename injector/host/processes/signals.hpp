// Processes stopped and let go on by signals (signal(7)), each known by pid and start time, so that a pid
// that was used again is never hit.
#pragma once

#include <cstdint>
#include <vector>

#include "injector/change/transaction.hpp"
#include "injector/system/targets.hpp"

namespace squall::signals {

// SIGSTOP, a change for each; the inverse is SIGCONT. Refuses, by throwing std::runtime_error, one that
// somebody else has stopped already: it would go on afterwards. Stopped processes do not survive a reboot.
void stop(Transaction&, const std::vector<Process>&);
// How many of them are there and stopped now, as the kernel has it.
std::size_t stopped(const std::vector<Process>&);
// The CPU time that they have used since they began, in ms; those that are gone count nothing.
double cpu_ms(const std::vector<Process>&);

}  // namespace squall::signals
