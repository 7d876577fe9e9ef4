// A fault on operations of one folder, by an overlay: what latency and error have in common.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "injector/faults/fault.hpp"
#include "injector/faults/files/folder_aim.hpp"
#include "injector/faults/files/folder_probe.hpp"

namespace squall::faults {

// What is asked for; at full level.
struct FolderRules {
  std::array<std::int64_t, overlay::kinds> delay_ns{};
  std::int64_t jitter_ns = 0;
  std::array<bool, overlay::kinds> fails{};
  int error = 0;
  std::string error_name;
  double share = 1;
  bool concerns(std::size_t kind) const { return delay_ns[kind] || fails[kind]; }
};

std::unique_ptr<Fault> make_folder_fault(const FolderRules&, const TargetSpec&, const Setting&, Diagnostics&);
std::vector<Capability> folder_doctor();
// What all faults of folders have in common in the catalogue.
FaultType folder_fault_type(std::string_view name, std::string_view sentence);

}  // namespace squall::faults
