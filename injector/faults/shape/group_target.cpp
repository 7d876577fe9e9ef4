#include "injector/faults/shape/group_target.hpp"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {

GroupTarget::GroupTarget(Target& target, const std::string& controller, const std::string& resource)
    : controller(controller), processes(target.pick(Amount::all())) {
  const auto found = cgroup::hierarchy_with(controller);
  if (!found) target.refuse("", found.error());
  hierarchy = *found;
  try {
    groups = cgroup::groups_of(hierarchy, processes);
  } catch (const std::exception& e) {
    target.refuse("", e.what());
  }
  for (auto& group : groups) {
    if (const auto why = cgroup::cannot_have(hierarchy, group, controller); !why.empty())
      target.refuse("", why);
    target.name("the cgroup " + group.path);
    target.claim({.resource = resource + " of the cgroup", .scope = group.path});
    target.reach().cgroups.push_back({group.folder, true});
  }
  target.caveat("everybody in the cgroup is limited together, also those that the target does not select");
}

void GroupTarget::enable(Transaction& host) const {
  std::vector<cgroup::Group> done;
  for (auto& group : groups)
    for (auto& parent : cgroup::lacking(hierarchy, group, controller)) {
      if (std::find(done.begin(), done.end(), parent) != done.end()) continue;
      cgroup::enable_controller(host, parent, controller);
      done.push_back(parent);
    }
}

double GroupTarget::sum(const std::string& file, std::string_view key) const {
  double out = 0;
  for (auto& group : groups) {
    const auto text = "\n" + read_file(group.folder + "/" + file).value_or("");
    const auto wanted = key.empty() ? std::string("\n") : fmt::format("\n{} ", key);
    if (const auto at = text.find(wanted); at != text.npos)
      out += std::atof(text.c_str() + at + wanted.size());
  }
  return out;
}

std::string lacks_controller(const std::string& controller) {
  if (auto why = needs_root(); !why.empty()) return why;
  const auto found = cgroup::hierarchy_with(controller);
  return found ? "" : found.error();
}

}  // namespace squall::faults
