// What lies between files and disks: overlays and their layers, loop devices and their files, btrfs; in every
// mount namespace, since containers mount in their own.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/host/storage/block.hpp"
#include "injector/system/mounts.hpp"

namespace squall::block {

// The mounts of one mount namespace, and the path under which this process sees its root: "/proc/4711/root".
struct MountTable {
  std::string root;
  std::vector<Mount> mounts;
};

// Our own first, then one for each other mount namespace that a process is in.
std::vector<MountTable> all_mount_tables();

// The folders that an overlay is made of, the one that takes writes first (by the options in mountinfo).
std::vector<std::string> overlay_layers(const Mount&);

// The devices that hold the files of a file system, by its st_dev: itself, or those of an overlay's layers,
// that of writes first; the device of a btrfs. Empty for what lies on none (tmpfs, nfs …).
std::vector<Device> devices_holding(dev_t, const std::vector<MountTable>&);

// Adds the st_dev of every file system whose data reaches one of these: overlays, btrfs, and what lies on
// loop devices.
void add_layers_above(std::set<dev_t>&, const std::vector<MountTable>&);

}  // namespace squall::block
