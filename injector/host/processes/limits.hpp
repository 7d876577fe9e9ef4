// Limits of running processes (prlimit(2)).
#pragma once

#include <sys/resource.h>

#include "injector/change/transaction.hpp"
#include "injector/system/targets.hpp"

namespace squall::limits {

struct Resource {
  int number = RLIMIT_NOFILE;
  const char* name = "open files";
};

// The soft limit alone, so that a process without privileges could have it back. Its inverse puts back what
// the same process had, while ours still stands. Throws std::runtime_error where the process is gone or has
// less.
void lower(Transaction&, const Process&, Resource, rlim_t to);

// Nothing where the process is gone.
std::optional<rlimit> read(const Process&, Resource);

}  // namespace squall::limits
