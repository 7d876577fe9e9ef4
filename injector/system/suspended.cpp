#include "injector/system/suspended.hpp"

#include <string>

#include <fmt/format.h>

#include "injector/system/mounts.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

// The folder of its group in the freezer hierarchy (v1), or of the unified one; "" where it is in none or
// that is not mounted.
struct Group {
  std::string root, folder;
};

Group group_of(pid_t pid, bool freezer) {
  const auto groups = read_file(fmt::format("/proc/{}/cgroup", pid)).value_or("");
  const std::string mark = freezer ? ":freezer:" : "0::";
  const auto at = freezer ? groups.find(mark) : groups.rfind("\n0::") + 1;
  if (at == groups.npos || groups.compare(at, mark.size(), mark) != 0) return {};
  const auto begin = at + mark.size();
  const auto path = groups.substr(begin, groups.find('\n', begin) - begin);
  for (auto& mount : read_mounts()) {
    const bool is = freezer ? mount.type == "cgroup" &&
                                  ("," + mount.super_options + ",").find(",freezer,") != std::string::npos
                            : mount.type == "cgroup2";
    if (is) return {mount.point, mount.point + path};
  }
  return {};
}

bool holds(const std::string& folder, const char* file, std::string_view text) {
  const auto is = folder.empty() ? std::nullopt : read_file(folder + "/" + file);
  return is && is->find(text) != std::string::npos;
}

}  // namespace

bool suspended(pid_t pid) {
  const auto stat = read_process_stat(pid);
  if (!stat) return false;
  return stat->state == 'T' || stat->state == 't' ||
         holds(group_of(pid, true).folder, "freezer.state", "FR") ||
         holds(group_of(pid, false).folder, "cgroup.events", "frozen 1");
}

void leave_frozen_group(pid_t pid) noexcept {
  try {
    const auto group = group_of(pid, true);
    if (holds(group.folder, "freezer.state", "FR"))
      write_file(group.root + "/cgroup.procs", std::to_string(pid), "");
  } catch (const std::exception&) {
  }
}

}  // namespace squall
