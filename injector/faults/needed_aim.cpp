#include "injector/faults/needed_aim.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace squall {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 8> needs{{
    {"process.kill",
     "a process (on: exe, command, listens_on, pid, pidfile, unit, cgroup, container or user)"},
    {"disk.throttle", "a disk, or who uses it (on: path, device, or a process)"},
    {"disk.latency", "a folder (on: path), and in whose mount namespace it is where that is not the host's"},
    {"disk.error", "a folder (on: path), and in whose mount namespace it is where that is not the host's"},
    {"files.latency", "a folder (on: path), and in whose mount namespace it is where that is not the host's"},
    {"files.error", "a folder (on: path), and in whose mount namespace it is where that is not the host's"},
    {"network.mtu", "one device (on: interface)"},
    {"network.down", "one device (on: interface)"},
}};

}  // namespace

std::string_view needed_aim(std::string_view fault) {
  const auto found = std::find_if(needs.begin(), needs.end(), [&](auto& one) { return one.first == fault; });
  return found == needs.end() ? std::string_view{} : found->second;
}

}  // namespace squall
