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

// Input that cannot be meant, with its place in the file; thrown, and told as a diagnostic.
struct WrongInput : std::runtime_error {
  WrongInput(Place at, const std::string& what) : std::runtime_error(what), place(at) {}
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
  Target(const Value& with, const TargetSpec& on, const Setting& setting)
      : with_(with), on_(on), setting_(setting), random_(setting.seed) {}
  Target(const Target&) = delete;

  // Each finds what is meant, or throws WrongInput, and notes that the fault touches it.
  // So many of the matching processes, picked by the seed, in the order of their pids.
  std::vector<Process> processes(const Amount& count = Amount::all());
  // The one device that `interface` names, here or where the processes are.
  AimedDevice device();

  // All processes that matched when they were looked for.
  const std::vector<Process>& matching() const { return matching_; }
  // A later look at whom the target selects now, through the same filter. Errors as those of find_processes.
  tl::expected<Selected, std::string> again() const { return select_processes(on_, setting_); }
  // So many of them, picked by the seed.
  std::vector<Process> pick(std::vector<Process> from, const Amount& count);
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
  // Throws WrongInput at the place of a parameter; "" for no place in particular.
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
  std::vector<Process> matching_;
  std::vector<std::string> names_, caveats_, claims_;
  Reach reach_;
};

// The keys of `on:` that select processes.
const std::vector<std::string>& process_aims();

}  // namespace squall::faults
