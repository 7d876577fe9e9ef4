// From a complete record to the reports in its folder and the exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/commands/commands.hpp"
#include "controller/record/run_log.hpp"

namespace squall {

// Judges the record, writes every report into the run's folder and where --junit and --markdown say, tells
// the story on the terminal.
int finish_run(RunLog&, const Arguments&);

// Whether a run's folder says that every host is as found; none where it does not tell.
std::optional<bool> whether_restored(const std::string& folder);

struct FinishedRun {
  std::string name, folder, scenario, verdict, started_by;
  std::int64_t wall_start_ns = 0;
};
// The runs that are kept in a folder and have ended, the oldest first.
std::vector<FinishedRun> finished_runs(const std::string& runs);

}  // namespace squall
