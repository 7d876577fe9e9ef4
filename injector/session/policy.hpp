// The host's last word: /etc/squall/policy.yaml bounds what any caller may do here. Without a file the
// defaults hold.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/system/targets.hpp"
#include "scenarios/schema/schema.hpp"

namespace squall {

struct Policy {
  std::string environment;              // drills that name another environment are refused
  std::vector<std::string> faults;      // the faults allowed; none named: all
  Duration longest{3'600'000'000'000};  // no fault lasts longer
  std::vector<std::string>
      protected_processes;  // names or paths of executables that no fault may be aimed at
  std::vector<std::string>
      protected_interfaces;                  // names or altnames, in whatever network namespace a fault acts
  std::vector<std::string> protected_paths;  // nothing is done to the file systems and disks that hold these
  std::vector<std::string>
      ignored_changes;  // patterns of what others change here all the time, as reports name it
  std::string source = "the defaults";  // what refusals name

  // Each gives "" where it may be done, else the rule that forbids it. Always protected, whatever the file
  // says: pid 1, SSH servers, squall, squall-injector with its guardian, and whoever started this process.
  std::string refuses_environment(const std::string&) const;
  // What is asked for, before anything is looked up. `for_ns` 0: for as long as `longest` lets it.
  std::string refuses(const FaultType&, const TargetSpec&, std::int64_t for_ns) const;
  std::string refuses(const std::vector<Process>&) const;
  // What a fault touches, as it is now; policy_reach.cpp.
  std::string refuses(const Reach&) const;

  // These are all who listen on the port, and may be touched: nobody needs to look for them again while their
  // sockets are the same.
  void know_listeners(std::uint16_t port, const std::vector<Process>&) const;

  // What the file names that protects nothing on this host as it is now, for a person: a slip, or not there
  // (yet).
  std::vector<std::string> findings() const;

 private:
  std::string refuses_processes(const Reach&) const;
  std::string refuses_listeners(const Reach::Devices&) const;
  std::string refuses_devices(const Reach::Devices&) const;
  std::string refuses_disks(const std::vector<std::string>&) const;

  // The sockets on a port of a network namespace whose holders were looked at last, and may be touched.
  mutable std::map<std::pair<std::uint64_t, std::uint16_t>, std::vector<std::uint64_t>> permitted_listeners_;
};

template <>
struct Describe<Policy> {
  static const Object<Policy>& object();
};

// Reads the file; throws std::runtime_error with its diagnostics where it is wrong. A missing default file is
// no error.
Policy read_policy(const std::string& path, bool must_exist);

}  // namespace squall
