#include "injector/faults/aim/selected.hpp"

#include <fmt/format.h>

namespace squall {

tl::expected<Selected, std::string> select_processes(const TargetSpec& target, const Setting& setting) {
  auto found = find_processes(target);
  if (!found) return tl::unexpected(found.error());
  Selected out;
  for (auto& process : *found)
    (setting.permits(process) ? out.processes : out.spared).push_back(std::move(process));
  return out;
}

std::string none_selected(const TargetSpec& target, const Selected& selected) {
  if (selected.spared.empty()) return none_matches(target);
  return fmt::format("{} selects only {}, which is protected on this host", target.to_string(),
                     selected.spared.front().to_string());
}

}  // namespace squall
