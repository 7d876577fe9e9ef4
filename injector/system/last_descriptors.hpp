// A dying process closes its descriptors from the highest number to the lowest (close_files in fs/file.c
// queues them, and exit_task_work runs the queue backwards). What has to outlive our other sockets by that
// moment gets a number below theirs.
#pragma once

#include "injector/system/process.hpp"

namespace squall {

// Keeps some low numbers free for that; at the start of the process, before others take them, and after one
// was given up.
void keep_last_descriptors();
// The same file under one of those numbers; where none is kept, under the lowest that is free.
Fd among_the_last(Fd);

}  // namespace squall
