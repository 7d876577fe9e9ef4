// Block devices: which one a path lies on, what lies above and below it, and what it has done so far.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>
#include <tl/expected.hpp>

namespace squall::block {

// A disk, a partition, or a virtual device such as loop0 or dm-3.
struct Device {
  unsigned major = 0, minor = 0;
  std::string name;               // as in /sys/class/block: "sda1"
  std::string id() const;         // "8:1"
  std::string to_string() const;  // "sda1 (8:1)"
  dev_t number() const;
  auto operator<=>(const Device&) const = default;
};

// "/dev/sdb", "sdb" or "8:16"; an error for a person where there is none.
tl::expected<Device, std::string> find_device(const std::string& text);

// The device with this number, where it is a block device.
std::optional<Device> device_of(dev_t);

// What a path's file system lies on.
struct Below {
  std::vector<Device> devices;  // that of writes first; one, but for an overlay whose layers lie on several
  std::set<dev_t> files;  // where it is an overlay: its number, and those of overlays above it; else empty
};
// An error for file systems that lie on no device (tmpfs, nfs …).
tl::expected<Below, std::string> devices_below(const std::string& path);

// The disk that a partition is a part of, else the device itself. Limits are kept for whole disks only
// (blkg_conf_open_bdev in block/blk-cgroup.c).
Device whole_disk(const Device&);

// The numbers of the device, its partitions, and the devices built on them (LVM, RAID, crypt).
std::set<dev_t> devices_above(const Device&);

// st_dev of every file whose data reaches the device: those above it, what lies on loop devices of files
// there, and the btrfs file systems and overlays of any of them (disk_layers.hpp).
std::set<dev_t> files_reaching(const Device&);

// What a device has completed since it came to be (Documentation/block/stat.rst).
struct Totals {
  std::uint64_t read_bytes = 0, write_bytes = 0, read_ops = 0, write_ops = 0;
};
std::optional<Totals> completed(const Device&);
std::optional<Totals> parse_device_stat(std::string_view);

}  // namespace squall::block
