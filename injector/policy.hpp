// The host's last word: /etc/squall/policy.yaml bounds what any caller may do here. Without a file the defaults hold.
#pragma once

#include <string>
#include <vector>

#include "injector/fault.hpp"
#include "injector/targets.hpp"
#include "scenarios/schema.hpp"

namespace squall {

struct Policy {
  std::string environment;                       // drills that name another environment are refused
  std::vector<std::string> faults;               // the faults allowed; none named: all
  Duration longest{3'600'000'000'000};           // no fault lasts longer
  std::vector<std::string> protected_processes;  // names or paths of executables that no fault may be aimed at
  std::vector<std::string> protected_interfaces;
  std::vector<std::string> protected_paths;  // nothing is done to the file systems and disks that hold these
  std::vector<std::string> ignored_changes;  // patterns of what others change here all the time, as reports name it
  std::string source = "the defaults";       // what refusals name

  // Each gives "" where it may be done, else the rule that forbids it. Always protected, whatever the file says: pid 1,
  // sshd, squall, squall-injector with its guardian, and whoever started this process.
  std::string refuses_environment(const std::string&) const;
  std::string refuses(const FaultType&, const TargetSpec&, std::int64_t for_ns) const;
  std::string refuses(const std::vector<Process>&) const;
  std::string refuses_claims(const std::vector<std::string>&) const;
};

template <>
struct Describe<Policy> {
  static const Object<Policy>& object();
};

// Reads the file; throws std::runtime_error with its diagnostics where it is wrong. A missing default file is no error.
Policy read_policy(const std::string& path, bool must_exist);

}  // namespace squall
