#include "injector/faults/aim/network_place.hpp"

#include <fmt/format.h>

#include "injector/faults/aim/selected.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {

Reach NetworkPlace::reach(std::vector<std::uint32_t> devices) const {
  Reach out{.processes = processes, .cgroups = {}, .devices = Reach::Devices{}, .disks = {}};
  out.devices->network_namespace = network_namespace;
  out.devices->pid = pid;
  out.devices->every = devices.empty();
  out.devices->indexes = std::move(devices);
  out.devices->everybody = pid != 0;
  return out;
}

std::optional<NetworkPlace> find_place(const TargetSpec& on, const Setting& setting,
                                       Diagnostics& diagnostics) {
  const auto own = current_network_namespace();
  NetworkPlace here{own, 0, "this host", {}, {own, 0}};
  if (!on.selects_processes()) return here;
  const auto selected = select_processes(on, setting);
  if (!selected || selected->processes.empty()) {
    diagnostics.error({}, selected ? none_selected(on, *selected) : selected.error());
    return {};
  }
  const auto* processes = &selected->processes;
  const auto& first = processes->front();
  for (auto& process : *processes)
    if (process.network_namespace != first.network_namespace) {
      diagnostics.error({}, fmt::format("{} and {} are in different network namespaces: aim at one of them",
                                        first.to_string(), process.to_string()));
      return {};
    }
  if (first.network_namespace != here.network_namespace)
    here = {first.network_namespace,
            first.pid,
            fmt::format("the network namespace of {}", first.to_string()),
            {},
            {first.network_namespace, first.pid}};
  here.processes = *processes;
  here.watch.expect(on, *processes);
  return here;
}

}  // namespace squall::faults
