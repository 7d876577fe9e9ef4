#include "injector/faults/aim/disk_aim.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

#include "injector/faults/aim/selected.hpp"
#include "injector/host/storage/disk_layers.hpp"
#include "injector/system/host_text.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/target_cgroups.hpp"

namespace squall::faults {
namespace {

using block::Device;
using cgroup::Group;
using cgroup::Hierarchy;
using Users = std::map<std::pair<Device, Group>, std::vector<DiskProcess>>;
using Error = tl::unexpected<std::string>;
template <class T>
using Result = tl::expected<T, std::string>;

std::string name_of(pid_t pid) {
  auto name = read_file(fmt::format("/proc/{}/comm", pid));
  return std::string(name ? trimmed(*name) : "?");
}

DiskProcess process_of(pid_t pid) {
  auto stat = read_process_stat(pid);
  return {pid, stat ? stat->start_ticks : 0, fmt::format("{}[{}]", printable(name_of(pid)), pid)};
}

// The disks that a file system lies on, and every st_dev by which the files that are meant may be known.
struct Aimed {
  std::vector<Device> devices;  // as they were named, or found below the path
  std::set<Device> disks;       // the whole ones
  std::set<dev_t> files;
  bool overlay = false;  // its users are meant, not whoever else is on the disks below it
  std::string text;      // "loop0 (7:0)", "the overlay of /srv/app"
};

Result<Aimed> aimed_at(const TargetSpec& on, std::vector<std::string>& limits) {
  Aimed aimed;
  if (on.path) {
    auto below = block::devices_below(*on.path);
    if (!below) return Error(below.error());
    aimed.devices = below->devices;
    aimed.files = below->files;
    aimed.overlay = !aimed.files.empty();
    aimed.text = fmt::format("the overlay of {}", *on.path);
  } else {
    auto device = block::find_device(*on.device);
    if (!device) return Error(device.error());
    aimed.devices = {*device};
  }
  for (auto& device : aimed.devices) {
    auto disk = block::whole_disk(device);
    if (aimed.disks.insert(disk).second && disk != device)
      limits.push_back(fmt::format(
          "{} is a part of {}: the kernel limits whole disks only, so its other partitions are limited too",
          device.name, disk.name));
    if (aimed.overlay) continue;
    aimed.files.merge(block::files_reaching(device));
    aimed.text = device.to_string();
  }
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

// The cgroups of every process that uses the file system. A process costs up to a millisecond to look
// through, so those of a cgroup that is known already are passed over.
Users users_of(const Hierarchy& hierarchy, const Aimed& aimed, bool& own) {
  std::map<std::string, std::optional<Group>> by_text;
  Users users;
  for (auto pid : all_processes()) {
    auto text = read_file(fmt::format("/proc/{}/cgroup", live_thread(pid)));
    if (!text) continue;
    auto [known, fresh] = by_text.try_emplace(*text);
    if (fresh) known->second = cgroup::group_of(hierarchy, *text);
    if (!known->second || users.contains({*aimed.disks.begin(), *known->second})) continue;
    if (!uses_any(pid, aimed.files)) continue;
    if (is_our_own(pid)) {
      own = true;
      continue;
    }
    for (auto& disk : aimed.disks)
      users[{disk, *known->second}].push_back(process_of(pid));
  }
  return users;
}

// The disks below the files that a process has open.
std::set<Device> disks_in_use(pid_t pid, const std::vector<block::MountTable>& tables) {
  std::set<Device> disks;
  for (auto number : devices_in_use(pid))
    for (auto& device : block::devices_holding(number, tables))
      disks.insert(block::whole_disk(device));
  return disks;
}

// The group that is limited for a process: on v2, where one is meant as a whole, that one.
Group limited_for(const Hierarchy& hierarchy, const TargetSpec& on, const Group& group) {
  if (hierarchy.version == cgroup::Version::v1) return group;
  auto meant = cgroup_meant(on, group.path);
  if (meant.empty() || meant.size() >= group.path.size()) return group;
  return {meant, group.folder.substr(0, group.folder.size() - (group.path.size() - meant.size()))};
}

Result<Users> users_among(const Hierarchy& hierarchy, const TargetSpec& on, const Setting& setting,
                          const std::optional<Aimed>& aimed, std::vector<std::string>& limits) {
  auto selected = select_processes(on, setting);
  if (!selected) return Error(selected.error());
  auto* processes = &selected->processes;
  if (processes->empty()) return Error(none_selected(on, *selected));
  Users users;
  const auto tables = aimed ? std::vector<block::MountTable>{} : block::all_mount_tables();
  for (auto& process : *processes) {
    auto group = cgroup::group_of(hierarchy, process.pid);
    if (!group) {
      limits.push_back(fmt::format("{} is in a cgroup outside of what is mounted here", process.to_string()));
      continue;
    }
    auto limited = limited_for(hierarchy, on, *group);
    for (auto& disk : aimed ? aimed->disks : disks_in_use(process.pid, tables))
      users[{disk, limited}].push_back({process.pid, process.start_ticks, process.to_string()});
  }
  if (users.empty())
    return Error(fmt::format("{} has no file open on a block device: say which with path: or device:",
                             processes->front().to_string()));
  return users;
}

std::string joined(const std::vector<DiskProcess>& processes, std::size_t most = 4) {
  std::string out;
  for (std::size_t i = 0; i < processes.size() && i < most; ++i)
    out += (i ? ", " : "") + processes[i].name;
  return processes.size() > most ? fmt::format("{} and {} more", out, processes.size() - most) : out;
}

// On v2 a limit holds for all that is below a group together: what lies below another one has no need of one
// for itself.
void merge_those_below(Users& users) {
  for (auto one = users.begin(); one != users.end();) {
    auto above = std::find_if(users.begin(), users.end(), [&](auto& other) {
      return &other != &*one && other.first.first == one->first.first && !other.first.second.is_root() &&
             cgroup::is_within(one->first.second, other.first.second);
    });
    if (above == users.end()) {
      ++one;
      continue;
    }
    above->second.insert(above->second.end(), one->second.begin(), one->second.end());
    one = users.erase(one);
  }
}

// Of the processes of a cgroup, those that the aim did not name: they are limited with it.
void note_bystanders(const Hierarchy& hierarchy, const DiskUser& user, std::vector<std::string>& limits) {
  std::vector<DiskProcess> others;
  bool injector = false;
  const auto all = hierarchy.version == cgroup::Version::v2 ? cgroup::processes_below(user.group)
                                                            : cgroup::processes(user.group);
  for (auto pid : all) {
    auto is_it = [&](const DiskProcess& process) { return process.pid == pid; };
    if (pid == getpid())
      injector = true;
    else if (std::none_of(user.processes.begin(), user.processes.end(), is_it))
      others.push_back(process_of(pid));
  }
  if (!others.empty() || injector)
    limits.push_back(fmt::format("the limit holds for the whole cgroup {}{}{}", user.group.path,
                                 others.empty() ? "" : fmt::format(", also for {}", joined(others)),
                                 injector ? "; the injector itself is in it" : ""));
}

// Who comes later, and how several groups share.
void add_notes(const TargetSpec& on, DiskAim& aim) {
  const bool v2 = aim.hierarchy.version == cgroup::Version::v2;
  if (!on.selects_processes())
    aim.limits.push_back(
        "processes that first open files there later, from another cgroup, are not slowed; nor are "
        "swapping and the file system's own threads");
  else if (v2)
    aim.limits.push_back(
        "processes that are meant and run in another cgroup later are not slowed: the dose looks for them");
  else
    aim.limits.push_back(
        "cgroup v1 knows no limit of a group and those below it together: those that begin later are not "
        "slowed, "
        "and the dose looks for them");
  if (aim.users.size() > 1)
    aim.limits.push_back(fmt::format("each of the {} cgroups has the limit for itself", aim.users.size()));
}

}  // namespace

Result<DiskAim> find_disk_users(const TargetSpec& on, const Setting& setting) {
  if (on.path && on.device) return Error("expected path: or device:, got both");
  auto hierarchy = cgroup::io_hierarchy();
  if (!hierarchy) return Error(hierarchy.error());
  DiskAim aim{*hierarchy, {}, {}, {}, {}};
  std::optional<Aimed> aimed;
  if (on.path || on.device) {
    auto found = aimed_at(on, aim.limits);
    if (!found) return Error(found.error());
    aimed = *found;
  }
  if (!aimed && !on.selects_processes())
    return Error("expected path:, device: or a process selector, got none");
  bool own = false;
  auto users = on.selects_processes() ? users_among(*hierarchy, on, setting, aimed, aim.limits)
                                      : users_of(*hierarchy, *aimed, own);
  if (!users) return Error(users.error());
  const bool v2 = hierarchy->version == cgroup::Version::v2;
  if (v2) merge_those_below(*users);

  std::string unreachable;
  for (auto& [key, processes] : *users) {
    DiskUser user{key.first, key.second, processes};
    auto why = user.group.is_root() && v2 ? std::string("in the root cgroup, which io.max cannot limit")
                                          : cgroup::cannot_have(*hierarchy, user.group, "io");
    if (!why.empty()) {
      unreachable = user.group.is_root() ? fmt::format("{} {}", joined(processes), why)
                                         : fmt::format("{} is not reached: {}", joined(processes), why);
      aim.unreached.insert(aim.unreached.end(), processes.begin(), processes.end());
      aim.limits.push_back(unreachable + ": run it as a unit or below systemd-run to reach it");
      continue;
    }
    if (on.selects_processes() || user.group.is_root()) note_bystanders(*hierarchy, user, aim.limits);
    aim.users.push_back(std::move(user));
  }
  if (aim.users.empty())
    return Error(unreachable.empty() ? fmt::format("no process{} has a file open on {}",
                                                   own ? " but Squall's own" : "", aimed->text)
                                     : fmt::format("only {} is there", unreachable));
  add_notes(on, aim);
  if (!on.selects_processes() && !aimed->overlay) aim.whole = aimed->devices;
  return aim;
}

}  // namespace squall::faults
