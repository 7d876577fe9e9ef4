#include "injector/faults/disk/written_bytes.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t page = 4096;

std::int64_t number_after(const std::string& text, std::string_view key) {
  const auto at = text.find(key);
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + key.size());
}

// What a process has given to the kernel so far.
struct Given {
  std::int64_t towards_disks = 0;  // by the pages that it made dirty, without what it took back by truncating
  std::int64_t by_writing = 0;     // by write(2) and its like, to whatever
};

std::optional<Given> given_by(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/io", pid));
  if (!text || text->find("\nwrite_bytes:") == std::string::npos) return std::nullopt;
  return Given{number_after(*text, "\nwrite_bytes:") - number_after(*text, "\ncancelled_write_bytes:"),
               number_after(*text, "\nwchar:")};
}

// Whether it writes by other ways than write(2) and its like, which alone count by_writing: through memory,
// io_uring or aio.
bool writes_otherwise(pid_t pid, const std::set<dev_t>& files) {
  std::istringstream lines{read_file(fmt::format("/proc/{}/maps", pid)).value_or("")};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words{line};
    std::string range, rights, offset, device;
    words >> range >> rights >> offset >> device;
    if (rights != "rw-s") continue;
    unsigned major = 0, minor = 0;
    if (line.find("[io_uring]") != std::string::npos || line.find("[aio]") != std::string::npos) return true;
    if (std::sscanf(device.c_str(), "%x:%x", &major, &minor) == 2 && files.contains(makedev(major, minor)))
      return true;
  }
  return false;
}

// File systems in memory: what is written there is in no process's account.
bool in_memory(const std::string& path) {
  struct statfs info{};
  if (::statfs(path.c_str(), &info) != 0) return true;
  constexpr unsigned long memory[] = {TMPFS_MAGIC,        RAMFS_MAGIC,        PROC_SUPER_MAGIC,
                                      SYSFS_MAGIC,        CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                                      DEVPTS_SUPER_MAGIC, HUGETLBFS_MAGIC};
  return std::find(std::begin(memory), std::end(memory), static_cast<unsigned long>(info.f_type)) !=
         std::end(memory);
}

bool open_for_writing(pid_t pid, const std::string& fd) {
  const auto text = read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd)).value_or("");
  const auto at = text.find("flags:");
  return at != std::string::npos && (std::strtol(text.c_str() + at + 6, nullptr, 8) & O_ACCMODE) != O_RDONLY;
}

std::int64_t changed_ns(const struct stat& info) {
  return info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

WrittenBytes::WrittenBytes(cgroup::Group group, bool with_those_below, std::set<dev_t> files)
    : group_(std::move(group)), below_(with_those_below), files_(std::move(files)) {}

void WrittenBytes::start() {
  started_ns_ = boottime_ns();
  accounts_.clear();
  others_.clear();
  total_ = elsewhere_ = 0;
  unknown_.clear();
  look(true);
}

void WrittenBytes::sample() {
  look(false);
}

void WrittenBytes::look(bool first) {
  for (auto pid : below_ ? cgroup::processes_below(group_) : cgroup::processes(group_)) {
    if (pid == ::getpid()) continue;
    const auto stat = read_process_stat(pid);
    const auto given = given_by(pid);
    if (!stat) continue;
    if (!given) {
      if (stat->kernel_thread || stat->ended()) continue;
      unknown_ = fmt::format("/proc/{}/io does not say what it writes", pid);
      continue;
    }
    auto [known, fresh] = accounts_.try_emplace(pid);
    auto& account = known->second;
    if (fresh || account.start_ticks != stat->start_ticks) {
      const bool younger = boot_ns_of(stat->start_ticks) >= started_ns_ && !first;
      account = {stat->start_ticks, younger ? 0 : given->towards_disks, younger ? 0 : given->by_writing};
    }
    if (given->towards_disks != account.towards_disks || first || fresh) look_elsewhere(pid, first || fresh);
    // A large folio counts as a whole, however little of it was written (folio_account_dirtied).
    auto sent = given->towards_disks - account.towards_disks;
    const auto written = given->by_writing - account.by_writing;
    if (sent > written && !writes_otherwise(pid, files_)) sent = written;
    total_ += sent;
    account.towards_disks = given->towards_disks;
    account.by_writing = given->by_writing;
  }
}

// What an appended file has grown by went there, a page at least each time. One that is overwritten takes the
// account's meaning.
void WrittenBytes::look_elsewhere(pid_t pid, bool first) {
  for (auto& entry : entries(fmt::format("/proc/{}/fd", pid))) {
    struct stat info{};
    if (::stat(entry.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || files_.contains(info.st_dev)) continue;
    const std::pair key{info.st_dev, info.st_ino};
    const auto known = others_.find(key);
    const File now{info.st_size, changed_ns(info)};
    if (known == others_.end()) {
      if (!open_for_writing(pid, entry.filename()) || in_memory(entry)) continue;
      // One that was made since counts from its beginning.
      others_.emplace(key, now);
      if (!first) elsewhere_ += now.size + page;
      continue;
    }
    if (known->second.changed_ns == now.changed_ns) continue;
    if (now.size <= known->second.size && unknown_.empty())
      unknown_ = fmt::format(
          "{}[{}] writes to {} too, on another file system, and how much of its bytes go there is not known",
          trimmed(read_file(fmt::format("/proc/{}/comm", pid)).value_or("?")), pid,
          std::filesystem::read_symlink(entry).string());
    elsewhere_ += std::max<std::int64_t>(now.size - known->second.size, 0) + page;
    known->second = now;
  }
}

}  // namespace squall::faults
