#include "injector/policy.hpp"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "injector/host/process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> always_protected{"sshd", "squall", "squall-injector"};

template <class List, class What>
bool contains(const List& list, const What& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

// The disk a block device is on: "8:0" for "8:1". Both are the same thing to a fault that slows the disk.
std::string disk_of(dev_t device) {
  std::error_code error;
  const auto number = fmt::format("{}:{}", major(device), minor(device));
  const auto folder = fs::canonical("/sys/dev/block/" + number, error);
  if (error || !fs::exists(folder / "partition", error)) return number;
  std::ifstream file{folder.parent_path() / "dev"};
  std::string whole;
  return std::getline(file, whole) ? whole : number;
}

// The disk that a path lies on, by its nearest folder that exists; "" where there is none.
std::string disk_below(fs::path path) {
  struct stat info {};
  while (::stat(path.c_str(), &info) != 0) {
    if (!path.has_relative_path()) return "";
    path = path.parent_path();
  }
  return disk_of(S_ISBLK(info.st_mode) ? info.st_rdev : info.st_dev);
}

// "/dev/sdb", "sdb" or "8:16", as TargetSpec has it.
std::string disk_named(const std::string& device) {
  unsigned major_number = 0, minor_number = 0;
  if (std::sscanf(device.c_str(), "%u:%u", &major_number, &minor_number) == 2) return disk_of(makedev(major_number, minor_number));
  return disk_below(device.starts_with('/') ? device : "/dev/" + device);
}

}  // namespace

const Object<Policy>& Describe<Policy>::object() {
  static const auto schema =
      Object<Policy>{"what may be done on this host"}
          .optional("environment", &Policy::environment, "drills that name another environment are refused")
          .optional("faults", &Policy::faults, "the faults allowed", "all")
          .optional("longest", &Policy::longest, "no fault lasts longer", "1h")
          .optional("protected_processes", &Policy::protected_processes, "names or paths of executables that no fault may be aimed at")
          .optional("protected_interfaces", &Policy::protected_interfaces, "devices that no fault may be aimed at")
          .optional("protected_paths", &Policy::protected_paths, "paths whose file systems and disks no fault may be aimed at")
          .optional("ignored_changes", &Policy::ignored_changes, "what is not compared before and after a run, as reports name it, with * and ?: \"mount /run/docker/*\"")
          .rule([](const Policy& policy, const Value& value, Diagnostics& wrong) {
            std::vector<std::string> known;
            for (auto* fault : fault_catalogue()) known.emplace_back(fault->name);
            for (auto& name : policy.faults) {
              if (contains(known, name)) continue;
              const auto close = nearest(name, known);
              wrong.error(value.find("faults")->place,
                          fmt::format("unknown fault \"{}\"{}", name, close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close)));
            }
          });
  return schema;
}

std::string Policy::refuses_environment(const std::string& wanted) const {
  if (environment.empty() || wanted.empty() || environment == wanted) return "";
  return fmt::format("this host belongs to the environment \"{}\" ({}), the drill is for \"{}\"", environment, source, wanted);
}

std::string Policy::refuses(const FaultType& fault, const TargetSpec& target, std::int64_t for_ns) const {
  if (!faults.empty() && !contains(faults, fault.name)) return fmt::format("this host allows only {} (\"faults\" in {}), not {}", fmt::join(faults, ", "), source, fault.name);
  if (for_ns > longest.ns)
    return fmt::format("this host allows no fault longer than {} (\"longest\" in {}), got {}", to_string(longest), source, to_string(Duration{for_ns}));
  if (target.pid && contains(own_line(), *target.pid))
    return fmt::format("pid {} is protected always: it is {}", *target.pid, *target.pid == 1 ? "the first process" : "squall, or what started it");
  if (target.interface && contains(protected_interfaces, *target.interface))
    return fmt::format("the interface \"{}\" is protected (\"protected_interfaces\" in {})", *target.interface, source);
  if (!target.path && !target.device) return "";
  const auto disk = target.path ? disk_below(*target.path) : disk_named(*target.device);
  for (auto& path : protected_paths)
    if (disk_below(path) == disk)
      return fmt::format("the path \"{}\" is protected (\"protected_paths\" in {}), and {} is on the same disk", path, source, target.to_string());
  return "";
}

std::string Policy::refuses(const std::vector<Process>& processes) const {
  for (auto& process : processes) {
    const auto exe = fs::path(process.exe).filename().string();
    if (process.pid == 1 || contains(always_protected, exe)) return fmt::format("the process {} is protected always", process.to_string());
    for (auto& name : {exe, process.exe, process.name})
      if (contains(protected_processes, name)) return fmt::format("the process {} is protected (\"protected_processes\" in {})", process.to_string(), source);
  }
  return "";
}

// A fault that was not aimed at an interface by name may touch it all the same: its claims tell ("qdisc eth0 egress").
std::string Policy::refuses_claims(const std::vector<std::string>& claims) const {
  for (auto& claim : claims) {
    std::istringstream words{claim};
    for (std::string word; words >> word;)
      if (contains(protected_interfaces, word))
        return fmt::format("the interface \"{}\" is protected (\"protected_interfaces\" in {})", word, source);
  }
  return "";
}

Policy read_policy(const std::string& path, bool must_exist) {
  std::error_code error;
  if (!must_exist && !fs::exists(path, error)) return {};
  Diagnostics unreadable{path};
  const auto text = read_text_file(path, unreadable);
  Diagnostics wrong{path, text};
  Policy out;
  if (unreadable.ok()) {
    const auto document = parse_document(text, wrong);
    if (document.kind != Value::Kind::null && wrong.ok()) Codec<Policy>::decode(document, out, wrong);
  }
  if (!unreadable.ok() || !wrong.ok()) throw std::runtime_error(unreadable.render() + wrong.render());
  out.source = path;
  return out;
}

}  // namespace squall
