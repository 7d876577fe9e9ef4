#include "injector/faults/aim/limit_watch.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/targets.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t search_ns = 1'000'000'000;  // a search looks at every process of the host
// Whoever starts a process in a cgroup starts it elsewhere and moves it a moment later.
constexpr std::int64_t settled_ns = 500'000'000;

// One that comes later counts once it has moved so much from or to disks: a login of the same user does not.
constexpr std::uint64_t noticed_bytes = 1 << 20;

std::uint64_t moved_by(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/io", pid)).value_or("");
  std::uint64_t out = 0;
  for (std::string_view key : {"\nread_bytes:", "\nwrite_bytes:"})
    if (const auto at = text.find(key); at != std::string::npos)
      out += std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
  return out;
}

std::string folder_of(const cgroup::DeviceLimit& where) {
  return where.file.substr(0, where.file.rfind('/'));
}

}  // namespace

LimitWatch::LimitWatch(TargetSpec target, const DiskAim& aim)
    : target_(std::move(target)), hierarchy_(aim.hierarchy) {
  for (auto& user : aim.users) {
    groups_.push_back(user.group);
    processes_.insert(processes_.end(), user.processes.begin(), user.processes.end());
  }
  for (auto& process : aim.unreached)
    unreached_.push_back(process.pid);
}

void LimitWatch::expect(const cgroup::DeviceLimit& where, std::uint64_t value) {
  expected_[where.to_string()] = {where, value, cgroup::identity(folder_of(where))};
}

void LimitWatch::lose(const std::string& what) {
  at_ = wall_ns();
  why_ = fmt::format("{}, seen at {}", what, time_of_day(at_));
}

void LimitWatch::look() {
  if (why_.empty()) look_at_limits();
  if (why_.empty()) look_at_processes();
  if (why_.empty() && target_.selects_processes() && monotonic_ns() >= next_search_) look_for_others();
}

void LimitWatch::look_at_limits() {
  for (auto& [text, one] : expected_) {
    if (cgroup::identity(folder_of(one.where)) != one.identity)
      return lose(fmt::format("the cgroup {} is gone, and its limit with it", folder_of(one.where)));
    const auto now = cgroup::read_limit(one.where);
    if (!now && now.error() == ENOENT)
      return lose(fmt::format("{} is gone: somebody switched its controller off", one.where.file));
    if (!now) return lose(fmt::format("{} cannot be read: {}", one.where.file, std::strerror(now.error())));
    if (*now != one.value)
      return lose(
          fmt::format("somebody set {} to {} (it was our {})", text, cgroup::limit_text(*now), one.value));
  }
}

bool LimitWatch::is_limited(const cgroup::Group& group) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](auto& one) {
    return hierarchy_.version == cgroup::Version::v2 ? cgroup::is_within(group, one) : group == one;
  });
}

void LimitWatch::look_at_processes() {
  for (auto& process : processes_) {
    const auto stat = read_process_stat(process.pid);
    if (!stat || stat->ended() || stat->start_ticks != process.start_ticks) continue;
    const auto group = cgroup::group_of(hierarchy_, process.pid);
    if (group && !is_limited(*group))
      return lose(
          fmt::format("{} was moved to the cgroup {}, which is not limited", process.name, group->path));
  }
}

// Who is meant by now: a service that was started anew, one of more that begins later.
void LimitWatch::look_for_others() {
  next_search_ = monotonic_ns() + search_ns;
  const auto found = find_processes(target_);
  if (!found) return;
  for (auto& process : *found) {
    const auto started = boot_ns_of(process.start_ticks);
    const auto group = cgroup::group_of(hierarchy_, process.pid);
    if (std::find(unreached_.begin(), unreached_.end(), process.pid) != unreached_.end()) continue;
    if (!group || is_limited(*group) || boottime_ns() - started < settled_ns) continue;
    if (moved_by(process.pid) < noticed_bytes) continue;
    const auto known = std::any_of(processes_.begin(), processes_.end(), [&](auto& one) {
      return one.pid == process.pid && one.start_ticks == process.start_ticks;
    });
    if (!known)
      return lose(fmt::format("{}, started at {}, is in the cgroup {}, which is not limited",
                              process.to_string(), time_of_day(wall_ns() - boottime_ns() + started),
                              group->path));
  }
}

std::vector<FaultEvent> LimitWatch::events() {
  if (why_.empty() || std::exchange(told_, true)) return {};
  return {{"fault.ineffective", at_, {{"why", why_}}}};
}

}  // namespace squall::faults
