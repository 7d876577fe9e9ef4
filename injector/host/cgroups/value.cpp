#include "injector/host/cgroups/value.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall::cgroup {
namespace {

bool has(const std::string& list, char separator, const std::string& word) {
  return (separator + list + separator).find(separator + word + separator) != std::string::npos;
}

}  // namespace

tl::expected<Hierarchy, std::string> hierarchy_with(const std::string& controller) {
  std::optional<Hierarchy> v1;
  for (auto& mount : read_mounts()) {
    if (mount.type == "cgroup2" &&
        has(std::string(trimmed(read_file(mount.point + "/cgroup.controllers").value_or(""))), ' ',
            controller))
      return Hierarchy{Version::v2, mount.point, mount.root, controller};
    if (mount.type == "cgroup" && has(mount.super_options, ',', controller))
      v1 = Hierarchy{Version::v1, mount.point, mount.root, controller};
  }
  if (v1) return *v1;
  return tl::unexpected(
      fmt::format("no cgroup hierarchy with the {} controller is mounted here", controller));
}

std::vector<Group> groups_of(const Hierarchy& hierarchy, const std::vector<Process>& processes) {
  std::vector<Group> out;
  for (auto& process : processes) {
    const auto group = group_of(hierarchy, process.pid);
    if (!group)
      throw std::runtime_error(
          fmt::format("{} is in no cgroup that is seen in {}", process.to_string(), hierarchy.point));
    if (group->is_root())
      throw std::runtime_error(
          fmt::format("{} is in the root cgroup of {}, which has no limits: run it in a cgroup of its own, "
                      "as systemd does",
                      process.to_string(), hierarchy.point));
    if (std::find(out.begin(), out.end(), *group) == out.end()) out.push_back(*group);
  }
  return out;
}

}  // namespace squall::cgroup
