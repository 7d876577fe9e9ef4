#include "injector/faults/disk_aim.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

#include "injector/host/host_text.hpp"
#include "injector/host/mounts.hpp"
#include "injector/host/open_files.hpp"
#include "injector/host/process.hpp"
#include "injector/host/read_file.hpp"
#include "injector/selected.hpp"

namespace squall::faults {
namespace {

using block::Device;
using cgroup::Group;
using cgroup::Hierarchy;
using Users = std::map<std::pair<Device, Group>, std::vector<std::string>>;
using Error = tl::unexpected<std::string>;
template <class T>
using Result = tl::expected<T, std::string>;

std::string name_of(pid_t pid) {
  auto name = read_file(fmt::format("/proc/{}/comm", pid));
  return std::string(name ? trimmed(*name) : "?");
}

std::string process_text(pid_t pid) { return fmt::format("{}[{}]", printable(name_of(pid)), pid); }

// A device that a file system lies on, and every st_dev by which its files may be known.
struct Aimed {
  Device disk;
  std::set<dev_t> files;
};

Result<Aimed> aimed_at(const TargetSpec& on, std::vector<std::string>& limits) {
  auto device = on.path ? block::device_below(*on.path) : block::find_device(*on.device);
  if (!device) return Error(device.error());
  Aimed aimed{block::whole_disk(*device), block::files_reaching(*device)};
  if (aimed.disk != *device)
    limits.push_back(fmt::format("{} is a part of {}: the kernel limits whole disks only, so its other partitions are limited too",
                                 device->name, aimed.disk.name));
  return aimed;
}

// Injectors, their guardians (which hold the journal open) and those that started this one are no target.
bool is_our_own(pid_t pid) {
  auto name = name_of(pid);
  if (name == "squall-injector" || name == "squall-guardian") return true;
  for (pid_t one = getpid(); one > 1;) {
    if (one == pid) return true;
    auto stat = read_process_stat(one);
    one = stat ? stat->parent : 0;
  }
  return false;
}

// The cgroups of every process that uses the file system. A process costs up to a millisecond to look through, so
// those of a cgroup that is known already are passed over.
Users users_of(const Hierarchy& hierarchy, const Aimed& aimed) {
  std::map<std::string, std::optional<Group>> by_text;
  Users users;
  for (auto pid : all_processes()) {
    auto text = read_file(fmt::format("/proc/{}/cgroup", live_thread(pid)));
    if (!text) continue;
    auto [known, fresh] = by_text.try_emplace(*text);
    if (fresh) known->second = cgroup::group_of(hierarchy, *text);
    if (!known->second || users.contains({aimed.disk, *known->second})) continue;
    if (uses_any(pid, aimed.files) && !is_our_own(pid)) users[{aimed.disk, *known->second}].push_back(process_text(pid));
  }
  return users;
}

// The device of a file system that has a number of its own (btrfs, overlays), by its mount.
std::optional<Device> device_below_mount(dev_t number, pid_t pid) {
  for (auto& mount : read_mounts(std::to_string(live_thread(pid))))
    if (makedev(mount.major, mount.minor) == number)
      if (auto below = block::device_below(mount.point)) return *below;
  return std::nullopt;
}

// The disks below the files that a process has open.
std::set<Device> disks_in_use(pid_t pid) {
  std::set<Device> disks;
  for (auto number : devices_in_use(pid)) {
    auto device = block::device_of(number);
    if (!device) device = device_below_mount(number, pid);
    if (device) disks.insert(block::whole_disk(*device));
  }
  return disks;
}

Result<Users> users_among(const Hierarchy& hierarchy, const TargetSpec& on, const Setting& setting, const std::optional<Aimed>& aimed,
                          std::vector<std::string>& limits) {
  auto selected = select_processes(on, setting);
  if (!selected) return Error(selected.error());
  auto* processes = &selected->processes;
  if (processes->empty()) return Error(none_selected(on, *selected));
  Users users;
  for (auto& process : *processes) {
    auto group = cgroup::group_of(hierarchy, process.pid);
    if (!group) {
      limits.push_back(fmt::format("{} is in a cgroup outside of what is mounted here", process.to_string()));
      continue;
    }
    auto disks = aimed ? std::set<Device>{aimed->disk} : disks_in_use(process.pid);
    for (auto& disk : disks) users[{disk, *group}].push_back(process.to_string());
  }
  if (users.empty())
    return Error(fmt::format("{} has no file open on a block device: say which with path: or device:",
                                      processes->front().to_string()));
  return users;
}

std::string joined(const std::vector<std::string>& texts, std::size_t most = 4) {
  std::string out;
  for (std::size_t i = 0; i < texts.size() && i < most; ++i) out += (i ? ", " : "") + texts[i];
  return texts.size() > most ? fmt::format("{} and {} more", out, texts.size() - most) : out;
}

// Of the processes of a cgroup, those that the aim did not name: they are limited with it.
void note_bystanders(const DiskUser& user, std::vector<std::string>& limits) {
  std::vector<std::string> others;
  bool injector = false;
  for (auto pid : cgroup::processes(user.group)) {
    auto text = process_text(pid);
    if (pid == getpid())
      injector = true;
    else if (std::find(user.processes.begin(), user.processes.end(), text) == user.processes.end())
      others.push_back(text);
  }
  if (!others.empty() || injector)
    limits.push_back(fmt::format("the limit holds for the whole cgroup {}{}{}", user.group.path,
                                 others.empty() ? "" : fmt::format(", also for {}", joined(others)),
                                 injector ? "; the injector itself is in it" : ""));
}

}  // namespace

Result<DiskAim> find_disk_users(const TargetSpec& on, const Setting& setting) {
  if (on.path && on.device) return Error("expected path: or device:, got both");
  auto hierarchy = cgroup::io_hierarchy();
  if (!hierarchy) return Error(hierarchy.error());
  DiskAim aim{*hierarchy, {}, {}};
  std::optional<Aimed> aimed;
  if (on.path || on.device) {
    auto found = aimed_at(on, aim.limits);
    if (!found) return Error(found.error());
    aimed = *found;
  }
  if (!aimed && !on.selects_processes()) return Error("expected path:, device: or a process selector, got none");
  auto users = on.selects_processes() ? users_among(*hierarchy, on, setting, aimed, aim.limits) : users_of(*hierarchy, *aimed);
  if (!users) return Error(users.error());

  std::string unreachable;
  for (auto& [key, processes] : *users) {
    DiskUser user{key.first, key.second, processes};
    if (user.group.is_root() && hierarchy->version == cgroup::Version::v2) {
      unreachable = fmt::format("{} in the root cgroup, which io.max cannot limit", joined(processes));
      aim.limits.push_back(unreachable + ": run it as a unit or below systemd-run to reach it");
      continue;
    }
    if (on.selects_processes() || user.group.is_root()) note_bystanders(user, aim.limits);
    aim.users.push_back(std::move(user));
  }
  if (aim.users.empty())
    return Error(unreachable.empty() ? fmt::format("no process has a file open on {}", aimed->disk.to_string())
                                              : fmt::format("only {} is there", unreachable));
  if (!on.selects_processes())
    aim.limits.push_back("processes that first open files there later, from another cgroup, are not slowed; nor are "
                         "swapping and the file system's own threads");
  if (aim.users.size() > 1)
    aim.limits.push_back(fmt::format("each of the {} cgroups has the limit for itself", aim.users.size()));
  return aim;
}

}  // namespace squall::faults
