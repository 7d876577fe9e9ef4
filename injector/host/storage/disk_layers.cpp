#include "injector/host/storage/disk_layers.hpp"

#include <algorithm>

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "injector/system/open_files.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::block {
namespace {

std::optional<dev_t> file_system_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? std::optional(info.st_dev) : std::nullopt;
}

// The device that a file system is mounted from.
std::optional<dev_t> source_of(const Mount& mount, const MountTable& where) {
  struct stat info{};
  if (!mount.source.starts_with("/dev/") || ::stat((where.root + mount.source).c_str(), &info) != 0 ||
      !S_ISBLK(info.st_mode))
    return std::nullopt;
  return info.st_rdev;
}

// The values of an option that may come more than once: of "rw,lowerdir=/a:/b" and
// "lowerdir+=/a,lowerdir+=/b".
std::vector<std::string> values_of(const std::string& options, std::string_view key) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < options.size();) {
    const auto end = std::min(options.find(',', at), options.size());
    auto one = std::string_view(options).substr(at, end - at);
    at = end + 1;
    if (!one.starts_with(key)) continue;
    one.remove_prefix(key.size());
    if (one.starts_with('+')) one.remove_prefix(1);
    if (one.starts_with('=')) out.push_back(unescape_mount(one.substr(1)));
  }
  return out;
}

// "/a:/b" and "/a::/data"; a colon of a name is written as "\:".
void add_split(const std::string& list, std::vector<std::string>& out) {
  std::string one;
  auto take = [&] {
    if (!one.empty()) out.push_back(std::exchange(one, {}));
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size())
      one += list[++i];
    else if (list[i] == ':')
      take();
    else
      one += list[i];
  }
  take();
}

// The st_dev of a layer, whose path is as the one who mounted it saw it: in the namespace of the mount, or in
// another one where the overlay has been made (as container engines do).
std::optional<dev_t> layer_device(const std::string& layer, const MountTable& where,
                                  const std::vector<MountTable>& tables) {
  if (!layer.starts_with('/')) return std::nullopt;
  if (auto found = file_system_of(where.root + layer)) return found;
  for (auto& table : tables)
    if (auto found = file_system_of(table.root + layer)) return found;
  return std::nullopt;
}

void add_holding(dev_t number, const std::vector<MountTable>& tables, std::set<dev_t>& seen,
                 std::vector<Device>& out) {
  if (!seen.insert(number).second) return;
  if (auto device = device_of(number)) return out.push_back(*device);
  for (auto& table : tables)
    for (auto& mount : table.mounts) {
      if (makedev(mount.major, mount.minor) != number) continue;
      for (auto& layer : overlay_layers(mount))
        if (auto below = layer_device(layer, table, tables)) add_holding(*below, tables, seen, out);
      if (auto source = source_of(mount, table)) add_holding(*source, tables, seen, out);
    }
}

// A loop device and the file system that its file lies on.
struct Loop {
  Device device;
  dev_t backing = 0;
};

std::vector<Loop> loops() {
  std::vector<Loop> out;
  for (auto& folder : entries("/sys/class/block")) {
    const auto name = folder.filename().string();
    std::error_code error;
    if (!name.starts_with("loop") || !std::filesystem::exists(folder / "loop/backing_file", error)) continue;
    const Fd fd{::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC)};
    loop_info64 info{};
    if (!fd || ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) continue;
    // As the kernel encodes a dev_t for user space (new_encode_dev, huge_encode_dev).
    if (auto device = find_device(name)) out.push_back({*device, static_cast<dev_t>(info.lo_device)});
  }
  return out;
}

bool lies_on(const Mount& mount, const MountTable& table, const std::vector<MountTable>& tables,
             const std::set<dev_t>& devices) {
  for (auto& layer : overlay_layers(mount))
    if (auto below = layer_device(layer, table, tables); below && devices.contains(*below)) return true;
  const auto source = source_of(mount, table);
  return source && devices.contains(*source);
}

}  // namespace

std::vector<MountTable> all_mount_tables() {
  std::vector<MountTable> out;
  std::set<ino_t> known;
  struct stat info{};
  if (::stat("/proc/self/ns/mnt", &info) == 0) known.insert(info.st_ino);
  out.push_back({"", read_mounts()});
  for (auto pid : all_processes())
    if (::stat(fmt::format("/proc/{}/ns/mnt", pid).c_str(), &info) == 0 && known.insert(info.st_ino).second)
      out.push_back({fmt::format("/proc/{}/root", pid), read_mounts(std::to_string(pid))});
  return out;
}

std::vector<std::string> overlay_layers(const Mount& mount) {
  std::vector<std::string> out;
  if (mount.type != "overlay") return out;
  for (auto& upper : values_of(mount.super_options, "upperdir"))
    out.push_back(upper);
  for (auto* key : {"lowerdir", "datadir"})
    for (auto& list : values_of(mount.super_options, key))
      add_split(list, out);
  return out;
}

std::vector<Device> devices_holding(dev_t number, const std::vector<MountTable>& tables) {
  std::vector<Device> out;
  std::set<dev_t> seen;
  add_holding(number, tables, seen, out);
  return out;
}

void add_layers_above(std::set<dev_t>& devices, const std::vector<MountTable>& tables) {
  const auto all_loops = loops();
  for (std::size_t before = 0; before != devices.size();) {
    before = devices.size();
    for (auto& loop : all_loops)
      if (devices.contains(loop.backing)) devices.merge(devices_above(loop.device));
    for (auto& table : tables)
      for (auto& mount : table.mounts)
        if (mount.major == 0 && !devices.contains(makedev(mount.major, mount.minor)) &&
            lies_on(mount, table, tables, devices))
          devices.insert(makedev(mount.major, mount.minor));
  }
}

}  // namespace squall::block
