// Which faults cannot do without a target, so that a scenario that gives none is told before a host is asked.
#pragma once

#include <string_view>

namespace squall {

// "a process (exe, command, …)"; "" where the fault can be aimed at a whole host.
std::string_view needed_aim(std::string_view fault);

}  // namespace squall
