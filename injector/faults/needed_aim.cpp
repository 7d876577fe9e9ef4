#include "injector/faults/needed_aim.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace squall {
namespace {

constexpr std::string_view a_process =
    "a process (on: exe, command, listens_on, pid, pidfile, unit, cgroup, container or user)";
constexpr std::string_view a_folder =
    "a folder (on: path), and in whose mount namespace it is where that is not the host's";
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> needs{{
    {"process.kill", a_process},
    {"process.pause", a_process},
    {"process.keep_dead", a_process},
    {"process.limit", a_process},
    {"cpu.throttle", a_process},
    {"memory.limit", a_process},
    {"disk.throttle", "a disk, or who uses it (on: path, device, or a process)"},
    {"disk.freeze", "a file system (on: path)"},
    {"disk.fill", "a file system (on: path)"},
    {"disk.inodes", "a file system (on: path)"},
    {"disk.latency", a_folder},
    {"disk.error", a_folder},
    {"files.latency", a_folder},
    {"files.error", a_folder},
    {"network.mtu", "one device (on: interface)"},
    {"network.down", "one device (on: interface)"},
}};

}  // namespace

std::string_view needed_aim(std::string_view fault) {
  const auto found = std::find_if(needs.begin(), needs.end(), [&](auto& one) { return one.first == fault; });
  return found == needs.end() ? std::string_view{} : found->second;
}

}  // namespace squall
