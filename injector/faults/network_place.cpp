#include "injector/faults/network_place.hpp"

#include <fmt/format.h>

#include "injector/host/network_namespace.hpp"
#include "injector/targets.hpp"

namespace squall::faults {

std::optional<NetworkPlace> find_place(const TargetSpec& on, Diagnostics& diagnostics) {
  const auto own = current_network_namespace();
  NetworkPlace here{own, 0, "this host", {own, 0}};
  if (!on.selects_processes()) return here;
  const auto processes = find_processes(on);
  if (!processes || processes->empty()) {
    diagnostics.error({}, processes ? none_matches(on) : processes.error());
    return {};
  }
  const auto& first = processes->front();
  for (auto& process : *processes)
    if (process.network_namespace != first.network_namespace) {
      diagnostics.error({}, fmt::format("{} and {} are in different network namespaces: aim at one of them", first.to_string(), process.to_string()));
      return {};
    }
  if (first.network_namespace != here.network_namespace)
    here = {first.network_namespace, first.pid, fmt::format("the network namespace of {}", first.to_string()), {first.network_namespace, first.pid}};
  here.watch.expect(on, *processes);
  return here;
}

}  // namespace squall::faults
