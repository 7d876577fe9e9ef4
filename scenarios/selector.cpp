#include "scenarios/selector.hpp"

namespace squall {

bool TargetSpec::selects_processes() const {
  return exe || command || listens_on || pid || pidfile || unit || cgroup || container || user;
}

bool TargetSpec::empty() const { return !selects_processes() && !interface && !path && !device; }

}  // namespace squall
