#include "injector/host/block.hpp"

#include <array>
#include <charconv>
#include <cstring>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "injector/host/mounts.hpp"
#include "injector/host/read_file.hpp"

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

// The value of a file system's option: upperdir of "rw,lowerdir=/a,upperdir=/b".
std::string option(const std::string& options, std::string_view key) {
  for (std::size_t at = 0; at < options.size();) {
    auto end = std::min(options.find(',', at), options.size());
    auto one = std::string_view(options).substr(at, end - at);
    if (one.starts_with(key) && one.substr(key.size()).starts_with('=')) return std::string(one.substr(key.size() + 1));
    at = end + 1;
  }
  return "";
}

// The mount that a path lies on: the last one over the longest mount point that holds it.
std::optional<Mount> mount_of(const std::string& path) {
  std::optional<Mount> best;
  for (auto& mount : read_mounts()) {
    auto below = mount.point == "/" || path == mount.point || path.starts_with(mount.point + "/");
    if (below && (!best || mount.point.size() >= best->point.size())) best = mount;
  }
  return best;
}

void add_stack(const fs::path& sysfs, std::set<std::string>& names) {
  std::error_code error;
  if (!names.insert(sysfs.filename()).second) return;
  for (auto& entry : entries(sysfs))
    if (fs::exists(entry / "partition", error)) add_stack(entry, names);
  for (auto& holder : entries(sysfs / "holders")) add_stack(fs::canonical(holder, error), names);
}

}  // namespace

std::string Device::id() const { return fmt::format("{}:{}", major, minor); }
std::string Device::to_string() const { return fmt::format("{} ({})", name, id()); }
dev_t Device::number() const { return makedev(major, minor); }

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
  struct stat info {};
  if (stat(text.c_str(), &info) != 0)
    return tl::unexpected(fmt::format("find the device \"{}\": {}", text, std::strerror(errno)));
  if (!S_ISBLK(info.st_mode))
    return tl::unexpected(fmt::format("expected a block device, got \"{}\"; for a file or folder write path:", text));
  if (auto device = device_of(info.st_rdev)) return *device;
  return tl::unexpected(fmt::format("\"{}\" names a device that does not exist", text));
}

tl::expected<Device, std::string> device_below(const std::string& path) {
  struct stat info {};
  std::error_code error;
  auto real = fs::canonical(path, error).string();
  if (error || stat(real.c_str(), &info) != 0)
    return tl::unexpected(fmt::format("find the file system of \"{}\": {}", path, std::strerror(error ? error.value() : errno)));
  if (auto device = device_of(info.st_dev)) return *device;
  auto mount = mount_of(real);
  if (!mount) return tl::unexpected(fmt::format("the file system of \"{}\" is not among this process's mounts", path));
  if (auto upper = option(mount->super_options, "upperdir"); mount->type == "overlay" && !upper.empty())
    return device_below(upper);
  if (mount->source.starts_with("/dev/") && stat(mount->source.c_str(), &info) == 0 && S_ISBLK(info.st_mode))
    if (auto device = device_of(info.st_rdev)) return *device;
  return tl::unexpected(fmt::format("the file system of \"{}\" ({}) lies on no block device", path, mount->type));
}

Device whole_disk(const Device& device) {
  std::error_code error;
  auto folder = fs::canonical("/sys/dev/block/" + device.id(), error);
  if (error || !fs::exists(folder / "partition", error)) return device;
  return device_named(folder.parent_path().filename()).value_or(device);
}

std::set<dev_t> files_reaching(const Device& device) {
  std::error_code error;
  std::set<std::string> names;
  std::set<dev_t> out{device.number()};
  if (auto folder = fs::canonical("/sys/dev/block/" + device.id(), error); !error) add_stack(folder, names);
  for (auto& name : names)
    if (auto found = device_named(name)) out.insert(found->number());
  for (auto& mount : read_mounts()) {
    struct stat info {};
    if (mount.major != 0 || !mount.source.starts_with("/dev/")) continue;
    if (stat(mount.source.c_str(), &info) == 0 && S_ISBLK(info.st_mode) && out.contains(info.st_rdev))
      out.insert(makedev(mount.major, mount.minor));
  }
  return out;
}

std::optional<Totals> parse_device_stat(std::string_view text) {
  // read ops, merged, sectors, ms, write ops, merged, sectors, …; a sector is 512 bytes whatever the device's are.
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
