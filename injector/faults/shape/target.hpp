// What a fault is aimed at, resolved once and filtered by the host's policy. What a fault takes from it is
// noted for the plan, for the policy and for the report.
#pragma once

#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "injector/faults/aim/selected.hpp"
#include "injector/faults/claims.hpp"
#include "injector/faults/fault.hpp"

namespace squall::faults {

struct AimedDevice;

// What was asked for cannot be done here: a text for a person, with its place in the file where one part is
// to blame. Thrown before anything was changed, and told as a diagnostic.
struct Unfit : std::runtime_error {
  explicit Unfit(const std::string& why, Place at = {}) : std::runtime_error(why), place(at) {}
  Place place;
};

// What a fault cannot share with another fault on the same host.
struct Claim {
  std::string resource;            // "the MTU of the device"
  std::string scope;               // "eth0"
  std::vector<Prefix> peers = {};  // of these alone, where there are any
  std::string text() const { return claim_with_peers(resource + " " + scope, peers); }
};

class Target {
 public:
  Target(const TargetSpec& on, const Setting& setting, const Value& with = Value::map())
      : with_(with), on_(on), setting_(setting), random_(setting.seed) {}
  Target(const Target&) = delete;

  // Each throws Unfit where there is nothing of the kind, or only what the policy protects.
  // All processes that it selects, in the order of their pids: looked for once.
  const std::vector<Process>& processes();
  // So many of them, picked by the seed; noted as what is hit.
  std::vector<Process> pick(const Amount&);
  // The one device that `interface` names, here or where the processes are; noted as what is touched.
  AimedDevice device();
  // The folder that `path` names, without symbolic links: its file system is what is meant, and noted as
  // that.
  std::string folder();
  // The path it means, which is there.
  std::string path() const;

  // A later look at whom it selects, through the same filter; perhaps nobody.
  std::vector<Process> again() const;
  // So many of these, picked by the seed.
  std::vector<Process> draw(std::vector<Process> from, const Amount& count);
  // Whether the policy lets this process be touched as it is now; one that became another program may not.
  bool permits(pid_t pid) const;

  // For plans and reports: what is hit, what this fault cannot do or see here, what it needs for itself.
  void name(std::string text) { names_.push_back(std::move(text)); }
  void caveat(std::string text) { caveats_.push_back(std::move(text)); }
  void claim(const Claim& claim) { claims_.push_back(claim.text()); }
  // One claim for each process.
  void claim(const std::string& resource, const std::vector<Process>&);
  // What else it touches, for the policy.
  Reach& reach() { return reach_; }
  // Throws Unfit at the place of a parameter; "" for no place in particular.
  [[noreturn]] void refuse(const char* parameter, const std::string& why) const;

  const TargetSpec& spec() const { return on_; }
  const Setting& setting() const { return setting_; }
  std::mt19937_64& random() { return random_; }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::string>& caveats() const { return caveats_; }
  const std::vector<std::string>& claims() const { return claims_; }
  const Reach& reach() const { return reach_; }

 private:
  Value with_;
  TargetSpec on_;
  Setting setting_;
  std::mt19937_64 random_;
  std::vector<Process> processes_;
  std::vector<std::string> names_, caveats_, claims_;
  Reach reach_;
};

// The keys of `on:` that select processes.
std::vector<std::string> process_keys();
// "redis-server[4711]" of each.
std::vector<std::string> names_of(const std::vector<Process>&);
// "process redis-server[4711]" of each: what two faults on processes cannot share.
std::vector<std::string> claims_on(const std::vector<Process>&);

}  // namespace squall::faults
