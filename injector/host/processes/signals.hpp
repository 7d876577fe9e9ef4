// Stopping processes without ending them (SIGSTOP, signal(7)).
#pragma once

#include "injector/change/transaction.hpp"
#include "injector/system/targets.hpp"

namespace squall::signals {

// By its pidfd, so that a pid that was used again is never hit. Its inverse lets the same process go on, and
// leaves alone one that somebody else let go on already.
void stop(Transaction&, const Process&);

// Stopped by a signal (state T of proc_pid_stat(5)).
bool is_stopped(const Process&);

// What it has used of the processors so far, ms; nothing where it is gone.
std::optional<double> cpu_ms(const Process&);

}  // namespace squall::signals
