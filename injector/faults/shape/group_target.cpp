#include "injector/faults/shape/group_target.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall::faults {

GroupTarget::GroupTarget(Target& target, const std::string& controller)
    : controller(controller), processes(target.processes()) {
  const auto found = cgroup::hierarchy_with(controller);
  if (!found) throw Unfit(found.error());
  hierarchy = *found;
  try {
    groups = cgroup::groups_of(hierarchy, processes);
  } catch (const std::exception& e) {
    throw Unfit(e.what());
  }
  for (auto& group : groups)
    if (const auto why = cgroup::cannot_have(hierarchy, group, controller); !why.empty()) throw Unfit(why);
}

std::vector<std::string> GroupTarget::names() const {
  std::vector<std::string> out;
  for (auto& group : groups)
    out.push_back("the cgroup " + group.path);
  return out;
}

std::vector<std::string> GroupTarget::claims(std::string_view resource) const {
  std::vector<std::string> out;
  for (auto& group : groups)
    out.push_back(fmt::format("{} of the cgroup {}", resource, group.path));
  return out;
}

Reach GroupTarget::reach() const {
  Reach out{.processes = processes, .cgroups = {}, .devices = {}, .disks = {}};
  for (auto& group : groups)
    out.cgroups.push_back({group.folder, true});
  return out;
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

}  // namespace squall::faults
