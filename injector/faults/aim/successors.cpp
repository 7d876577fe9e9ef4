#include "injector/faults/aim/successors.hpp"

#include <algorithm>

namespace squall::faults {

void Successors::know(const std::vector<Process>& processes) {
  for (auto& process : processes)
    known_.emplace(process.pid, process.start_ticks);
}

void Successors::died(const Process& victim, std::int64_t struck, std::int64_t at) {
  const auto later = std::find_if(gaps_.begin(), gaps_.end(), [&](auto& gap) { return gap.died > at; });
  gaps_.insert(later, {victim, struck, at});
}

std::optional<Successors::Pair> Successors::seen(const Process& process, Moment came) {
  if (!known_.emplace(process.pid, process.start_ticks).second) return {};
  const auto gap = place_for(process, came.latest);
  if (gap == gaps_.end()) return {};
  const auto latest = std::max(came.latest, gap->died);
  const Pair pair{gap->victim, process, latest - gap->died, latest - std::max(came.earliest, gap->died)};
  gaps_.erase(gap);
  pairs_.push_back(pair);
  return pair;
}

std::vector<Successors::Gap>::iterator Successors::place_for(const Process& process,
                                                             std::int64_t came_at_the_latest) {
  const auto before =
      std::find_if(gaps_.begin(), gaps_.end(), [&](auto& gap) { return gap.struck > came_at_the_latest; });
  const auto alike = [&](bool cgroup_too) {
    return std::find_if(gaps_.begin(), before, [&](auto& gap) {
      return gap.victim.command == process.command && (!cgroup_too || gap.victim.cgroups == process.cgroups);
    });
  };
  for (bool cgroup_too : {true, false})
    if (const auto found = alike(cgroup_too); found != before) return found;
  return before == gaps_.begin() ? gaps_.end() : gaps_.begin();
}

}  // namespace squall::faults
