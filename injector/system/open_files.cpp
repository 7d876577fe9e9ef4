#include "injector/system/open_files.hpp"

#include <charconv>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "injector/system/mounts.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

// The folder of /proc that tells of a process: that of its first thread, or of one that lives on where that
// has ended.
std::string files_of(pid_t pid) {
  return fmt::format("/proc/{}", live_thread(pid));
}

// Calls back with the name and status of every open file of a process until it says true.
template <class Each>
bool any_open_file(const std::string& process, Each each) {
  std::unique_ptr<DIR, CloseFolder> folder(opendir((process + "/fd").c_str()));
  if (!folder) return false;
  while (auto* entry = readdir(folder.get())) {
    struct stat info{};
    if (entry->d_name[0] != '.' && fstatat(dirfd(folder.get()), entry->d_name, &info, 0) == 0 &&
        each(entry->d_name, info))
      return true;
  }
  return false;
}

// A device that is merely looked at (O_PATH, as file servers do) is not in use.
bool is_in_use(const std::string& process, const char* name, const struct stat& info) {
  if (!S_ISBLK(info.st_mode)) return true;
  auto text = read_file(fmt::format("{}/fdinfo/{}", process, name)).value_or("");
  auto at = text.find("flags:");
  return at == std::string::npos || (std::strtol(text.c_str() + at + 6, nullptr, 8) & O_PATH) == 0;
}

// The mounts that a process's files may lie on, by their ids: a file of an overlay may have a st_dev that no
// mount has.
class MountsOf {
 public:
  explicit MountsOf(std::string process) : process_(std::move(process)) {}
  std::optional<dev_t> device_of(const char* file) {
    auto text = read_file(fmt::format("{}/fdinfo/{}", process_, file)).value_or("");
    auto at = text.find("mnt_id:");
    if (at == std::string::npos) return std::nullopt;
    if (!mounts_) mounts_ = parse_mountinfo(read_file(process_ + "/mountinfo").value_or(""));
    auto id = std::atoi(text.c_str() + at + 7);
    for (auto& mount : *mounts_)
      if (mount.id == id) return makedev(mount.major, mount.minor);
    return std::nullopt;
  }

 private:
  std::string process_;
  std::optional<std::vector<Mount>> mounts_;
};

// The device that an open file keeps busy; none for sockets, pipes and terminals.
std::optional<dev_t> device_of_file(const struct stat& info) {
  if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) return info.st_dev;
  if (S_ISBLK(info.st_mode)) return info.st_rdev;
  return std::nullopt;
}

// "7f1c… r-xp 00000000 fe:00 1234 /usr/lib/…": the fourth word is the device in hexadecimal.
std::optional<dev_t> device_of_mapping(std::string_view line) {
  for (int skip = 0; skip < 3; ++skip) {
    auto blank = line.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    line.remove_prefix(blank + 1);
  }
  unsigned major = 0, minor = 0;
  auto* end = line.data() + line.size();
  auto first = std::from_chars(line.data(), end, major, 16);
  if (first.ptr == end || *first.ptr != ':') return std::nullopt;
  std::from_chars(first.ptr + 1, end, minor, 16);
  return makedev(major, minor);
}

bool maps_any(const std::string& process, const std::set<dev_t>& devices) {
  auto text = read_file(process + "/maps");
  if (!text) return false;
  for (std::string_view rest = *text; !rest.empty();) {
    auto end = std::min(rest.find('\n'), rest.size());
    if (auto device = device_of_mapping(rest.substr(0, end)); device && devices.contains(*device))
      return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

}  // namespace

bool uses_any(pid_t pid, const std::set<dev_t>& devices) {
  struct stat info{};
  auto process = files_of(pid);
  if (stat((process + "/cwd").c_str(), &info) == 0 && devices.contains(info.st_dev)) return true;
  MountsOf mounts(process);
  auto is_one = [&](const char* name, const struct stat& file) {
    auto device = device_of_file(file);
    if (!device) return false;
    if (devices.contains(*device)) return is_in_use(process, name, file);
    auto mounted = major(*device) == 0 ? mounts.device_of(name) : std::nullopt;
    return mounted && devices.contains(*mounted);
  };
  return any_open_file(process, is_one) || maps_any(process, devices);
}

std::set<dev_t> devices_in_use(pid_t pid) {
  std::set<dev_t> out;
  auto process = files_of(pid);
  MountsOf mounts(process);
  any_open_file(process, [&](const char* name, const struct stat& file) {
    if (auto device = device_of_file(file); device && is_in_use(process, name, file))
      out.insert(major(*device) == 0 ? mounts.device_of(name).value_or(*device) : *device);
    return false;
  });
  struct stat info{}, root{};
  if (stat((process + "/cwd").c_str(), &info) == 0 && stat("/", &root) == 0 &&
      (info.st_dev != root.st_dev || info.st_ino != root.st_ino))
    out.insert(info.st_dev);
  return out;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> out;
  std::unique_ptr<DIR, CloseFolder> folder(opendir("/proc"));
  if (!folder) return out;
  while (auto* entry = readdir(folder.get())) {
    pid_t pid = 0;
    auto* end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, pid).ptr == end) out.push_back(pid);
  }
  return out;
}

}  // namespace squall
