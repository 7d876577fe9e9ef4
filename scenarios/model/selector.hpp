// How a fault or a service says which part of a host it means, and how a scenario picks hosts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "scenarios/schema/schema.hpp"

namespace squall {

// What a fault is aimed at on one host. Which of these a fault understands is in its catalogue entry.
struct TargetSpec {
  std::optional<std::string> interface;     // network: a device name
  std::optional<std::string> path;          // disk: the file system that this path lies on
  std::optional<std::string> device;        // disk: /dev/sdb, sdb or 8:16
  std::optional<std::string> exe;           // process: the executable's path, or its base name
  std::optional<std::string> command;       // process: regular expression (ECMAScript) on the command line
  std::optional<std::uint16_t> listens_on;  // process: a TCP or UDP port it listens on
  std::optional<std::int32_t> pid;          // process
  std::optional<std::string> pidfile;       // process: a file whose first line is a pid
  std::optional<std::string> unit;          // process: a systemd unit
  std::optional<std::string> cgroup;        // process: a cgroup, relative to its hierarchy's root
  std::optional<std::string> container;     // process: a container's id or name
  std::optional<std::string> user;          // process: a user's name or uid

  // True where any of the keys that select processes is given.
  bool selects_processes() const;
  bool empty() const;
  std::string to_string() const;  // "listens_on=6379"
};

// `on:` of a fault: the hosts it picks, and what it is aimed at there.
struct Selector {
  std::optional<std::string> host;
  std::optional<std::string> service;  // its hosts, and its processes unless the target says otherwise
  std::map<std::string, std::string> labels;
  std::optional<std::int64_t> pick;  // so many of the matching hosts, chosen by the seed
  std::optional<Percent> share;      // or such a share of them
  TargetSpec target;
};

// A target that can only be processes, and is not empty: `processes:` of a service, `process:` of a probe.
const Object<TargetSpec>& process_target();

template <>
struct Describe<TargetSpec> {
  static const Object<TargetSpec>& object();
};
template <>
struct Describe<Selector> {
  static const Object<Selector>& object();
};

}  // namespace squall
