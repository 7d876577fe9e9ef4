#include "injector/host/storage/block.hpp"

#include <array>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "injector/host/storage/disk_layers.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall::block {
namespace {

namespace fs = std::filesystem;

std::optional<std::pair<unsigned, unsigned>> parse_id(std::string_view text) {
  unsigned major = 0, minor = 0;
  auto* end = text.data() + text.size();
  auto first = std::from_chars(text.data(), end, major);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return std::nullopt;
  auto second = std::from_chars(first.ptr + 1, end, minor);
  if (second.ec != std::errc{} || second.ptr != end) return std::nullopt;
  return std::pair{major, minor};
}

std::optional<Device> device_named(const std::string& name) {
  auto id = read_file(fmt::format("/sys/class/block/{}/dev", name));
  auto numbers = id ? parse_id(trimmed(*id)) : std::nullopt;
  if (!numbers) return std::nullopt;
  return Device{numbers->first, numbers->second, name};
}

// The number of the file system of a path: by its mount, since files of an overlay may have another st_dev.
std::optional<dev_t> file_system_of(const std::string& path, const std::vector<Mount>& mounts) {
  struct statx info{};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &info) != 0) return std::nullopt;
  if (info.stx_mask & STATX_MNT_ID)
    for (auto& mount : mounts)
      if (static_cast<std::uint64_t>(mount.id) == info.stx_mnt_id) return makedev(mount.major, mount.minor);
  return makedev(info.stx_dev_major, info.stx_dev_minor);
}

void add_stack(const fs::path& sysfs, std::set<std::string>& names) {
  std::error_code error;
  if (!names.insert(sysfs.filename()).second) return;
  for (auto& entry : entries(sysfs))
    if (fs::exists(entry / "partition", error)) add_stack(entry, names);
  for (auto& holder : entries(sysfs / "holders"))
    add_stack(fs::canonical(holder, error), names);
}

}  // namespace

std::string Device::id() const {
  return fmt::format("{}:{}", major, minor);
}
std::string Device::to_string() const {
  return fmt::format("{} ({})", name, id());
}
dev_t Device::number() const {
  return makedev(major, minor);
}

std::optional<Device> device_of(dev_t number) {
  char target[PATH_MAX];
  auto link = fmt::format("/sys/dev/block/{}:{}", ::major(number), ::minor(number));
  auto length = readlink(link.c_str(), target, sizeof target);
  if (length <= 0) return std::nullopt;
  auto name = std::string_view(target, static_cast<std::size_t>(length));
  return Device{::major(number), ::minor(number), std::string(name.substr(name.rfind('/') + 1))};
}

tl::expected<Device, std::string> find_device(const std::string& text) {
  if (auto numbers = parse_id(text)) {
    if (auto device = device_of(makedev(numbers->first, numbers->second))) return *device;
    return tl::unexpected(fmt::format("no block device has the number {}", text));
  }
  if (text.find('/') == std::string::npos) {
    if (auto device = device_named(text)) return *device;
    return tl::unexpected(fmt::format("no block device is called \"{}\"", text));
  }
  struct stat info{};
  if (stat(text.c_str(), &info) != 0)
    return tl::unexpected(fmt::format("find the device \"{}\": {}", text, std::strerror(errno)));
  if (!S_ISBLK(info.st_mode))
    return tl::unexpected(
        fmt::format("expected a block device, got \"{}\"; for a file or folder write path:", text));
  if (auto device = device_of(info.st_rdev)) return *device;
  return tl::unexpected(fmt::format("\"{}\" names a device that does not exist", text));
}

tl::expected<Below, std::string> devices_below(const std::string& path) {
  const auto tables = all_mount_tables();
  const auto number = file_system_of(path, tables.front().mounts);
  if (!number)
    return tl::unexpected(fmt::format("find the file system of \"{}\": {}", path, std::strerror(errno)));
  Below out{devices_holding(*number, tables), {}};
  std::string type = "?";
  for (auto& mount : tables.front().mounts)
    if (makedev(mount.major, mount.minor) == *number) type = mount.type;
  if (out.devices.empty())
    return tl::unexpected(fmt::format("the file system of \"{}\" ({}) lies on no block device", path, type));
  if (type == "overlay") {
    out.files.insert(*number);
    add_layers_above(out.files, tables);
  }
  return out;
}

Device whole_disk(const Device& device) {
  std::error_code error;
  auto folder = fs::canonical("/sys/dev/block/" + device.id(), error);
  if (error || !fs::exists(folder / "partition", error)) return device;
  return device_named(folder.parent_path().filename()).value_or(device);
}

std::set<dev_t> devices_above(const Device& device) {
  std::error_code error;
  std::set<std::string> names;
  std::set<dev_t> out{device.number()};
  if (auto folder = fs::canonical("/sys/dev/block/" + device.id(), error); !error) add_stack(folder, names);
  for (auto& name : names)
    if (auto found = device_named(name)) out.insert(found->number());
  return out;
}

std::set<dev_t> files_reaching(const Device& device) {
  auto out = devices_above(device);
  add_layers_above(out, all_mount_tables());
  return out;
}

std::optional<Totals> parse_device_stat(std::string_view text) {
  // read ops, merged, sectors, ms, write ops, merged, sectors, …; a sector is 512 bytes whatever the device's
  // are.
  std::array<std::uint64_t, 7> fields{};
  for (auto& field : fields) {
    text = trimmed(text);
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), field);
    if (parsed.ec != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  }
  return Totals{fields[2] * 512, fields[6] * 512, fields[0], fields[4]};
}

std::optional<Totals> completed(const Device& device) {
  auto text = read_file(fmt::format("/sys/dev/block/{}/stat", device.id()));
  return text ? parse_device_stat(*text) : std::nullopt;
}

}  // namespace squall::block
