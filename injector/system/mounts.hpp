// Mounts of a mount namespace, as the kernel lists them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace squall {

// One line of mountinfo (proc_pid_mountinfo(5)), its octal escapes resolved.
struct Mount {
  int id = 0;
  int parent = 0;
  unsigned major = 0, minor = 0;  // of the file system; 0:N where it lies on no device
  std::string root;               // the part of the file system that is mounted
  std::string point;
  std::string options;        // of this mount
  std::string type;           // "ext4"
  std::string source;         // "/dev/sda1"
  std::string super_options;  // of the file system
};

// Space, tab, newline and others are written as \040, \011, \012 … there; options are kept so, to be split
// first.
std::string unescape_mount(std::string_view);

std::vector<Mount> parse_mountinfo(std::string_view text);

// The mounts that a process sees, "self" for this one; empty where they cannot be read.
std::vector<Mount> read_mounts(std::string_view pid = "self");

}  // namespace squall
