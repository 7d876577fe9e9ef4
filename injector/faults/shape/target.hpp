// What a fault is aimed at: resolved once, and every look passes the host's policy.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/system/targets.hpp"
#include "scenarios/text/units.hpp"

namespace squall::faults {

// What was asked for cannot be done here: a text for a person. Thrown before anything was changed.
struct Unfit : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Target {
 public:
  Target(const TargetSpec&, const Setting&);
  const TargetSpec& spec() const { return spec_; }
  const Setting& setting() const { return setting_; }
  // Whom it selects, at least one, in the order of their pids. Throws Unfit where it selects nobody, or only
  // those that the policy protects.
  const std::vector<Process>& processes();
  // So many of them, drawn by the seed.
  std::vector<Process> pick(const Amount&);
  // Whom it selects now, perhaps nobody.
  std::vector<Process> again() const;
  // The path it means. Throws Unfit where it names none that is there.
  std::string path() const;

 private:
  TargetSpec spec_;
  Setting setting_;
  std::vector<Process> processes_;
};

// The keys by which a fault can be aimed at processes.
std::vector<std::string> process_keys();

// "redis-server[4711]" of each.
std::vector<std::string> names_of(const std::vector<Process>&);
// "process redis-server[4711]" of each: what two faults on processes cannot share.
std::vector<std::string> claims_on(const std::vector<Process>&);

}  // namespace squall::faults
