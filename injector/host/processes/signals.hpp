// Processes stopped and let go on by signals (signal(7)), each known by pid and start time, so that a pid
// that was used again is never hit.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "injector/change/transaction.hpp"
#include "injector/system/targets.hpp"

namespace squall::signals {

// SIGSTOP; the inverse is SIGCONT. Throws std::runtime_error where somebody else has stopped it already: it
// would go on afterwards. Stopped processes do not survive a reboot.
void stop(Transaction&, const Process&);
void stop(Transaction&, const std::vector<Process>&);

// Stopped by a signal (state T of proc_pid_stat(5)).
bool is_stopped(const Process&);
// How many of them are.
std::size_t stopped(const std::vector<Process>&);

// The CPU time that it has used since it began, in ms; nothing where it is gone.
std::optional<double> cpu_ms(const Process&);
// That of all that are there.
double cpu_ms(const std::vector<Process>&);

}  // namespace squall::signals
