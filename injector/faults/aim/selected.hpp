// Whom a fault may look at when it looks for processes: the only way there is for faults (`scripts/check`
// sees to that).
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "injector/faults/fault.hpp"
#include "injector/system/targets.hpp"

namespace squall {

struct Selected {
  std::vector<Process> processes;  // in the order of their pids
  std::vector<Process> spared;     // selected as well, but the host's policy protects them
};

// Whom the target selects now. Errors as those of find_processes.
tl::expected<Selected, std::string> select_processes(const TargetSpec&, const Setting&);
// Why it selects nobody: none matches, or all who do are protected.
std::string none_selected(const TargetSpec&, const Selected&);

}  // namespace squall
