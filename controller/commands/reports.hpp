// From a complete record to the reports in its folder and the exit code.
#pragma once

#include "controller/commands/commands.hpp"
#include "controller/engine/run_log.hpp"

namespace squall {

// Judges the record, writes every report into the run's folder, tells the story on the terminal.
int finish_run(RunLog&, const Arguments&);

}  // namespace squall
