// What systemd says of a unit: whether it starts it again, and how often at most.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "injector/system/targets.hpp"

namespace squall::systemd {

struct Unit {
  std::string name;  // "redis.service"
  std::vector<std::string>
      manager;  // how systemctl reaches its manager: nothing for the system's, else --user …
  std::string active, result, restart;  // "failed", "start-limit-hit", "always"
  std::uint64_t burst = 0;              // so many starts within the interval; 0: no limit
  std::int64_t interval_ns = 0, restart_ns = 0;

  bool failed() const { return active == "failed"; }
  // Where a signal has killed it (systemd.service(5), Restart=).
  bool starts_again() const {
    return restart == "always" || restart == "on-failure" || restart == "on-abnormal" ||
           restart == "on-abort";
  }
  // "systemctl reset-failed redis.service"
  std::string command(const std::string& verb) const;
};

// The unit that a process belongs to, by its cgroup; only the names are filled in.
std::optional<Unit> unit_of(const Process&);
// Asks systemctl; nothing where there is no systemd, it does not know the unit, or does not answer within a
// second.
std::optional<Unit> look_at(const Unit&);
// Out of what `systemctl show` prints.
Unit read_properties(Unit, const std::string& shown);
// "1min 30s" in ns; 0 for "0" and "infinity".
std::int64_t read_timespan(const std::string&);

}  // namespace squall::systemd
