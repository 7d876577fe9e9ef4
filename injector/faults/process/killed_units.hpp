// Units of systemd whose processes are killed: how often systemd starts them again before it gives up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/change/transaction.hpp"
#include "injector/system/systemd.hpp"
#include "scenarios/text/units.hpp"

namespace squall::faults {

// Of these processes, as far as systemd answers, each once.
std::vector<systemd::Unit> units_of(const std::vector<Process>&);
// That kills in this rhythm use up the unit's start limit, for a plan; "" where they do not, or nobody starts
// it again.
std::string used_up(const systemd::Unit&, const std::optional<Duration>& every);
// Changes nothing; where systemd has given the unit up by the undo, that is told as what is left.
Change watch_unit(const systemd::Unit&);

}  // namespace squall::faults
