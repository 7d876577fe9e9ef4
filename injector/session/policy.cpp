#include "injector/session/policy.hpp"

#include <array>
#include <filesystem>

#include <fmt/format.h>

#include "injector/host/storage/block.hpp"
#include "injector/system/process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

// OpenSSH since 9.8 serves a session by an executable of its own.
constexpr std::array<std::string_view, 6> always_protected{"sshd",     "sshd-session", "sshd-auth",
                                                           "dropbear", "squall",       "squall-injector"};

template <class List, class What>
bool contains(const List& list, const What& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

}  // namespace

const Object<Policy>& Describe<Policy>::object() {
  static const auto schema =
      Object<Policy>{"what may be done on this host"}
          .optional("environment", &Policy::environment, "drills that name another environment are refused")
          .optional("faults", &Policy::faults, "the faults allowed", "all")
          .optional("longest", &Policy::longest, "no fault lasts longer", "1h")
          .optional("protected_processes", &Policy::protected_processes,
                    "names or paths of executables that no fault may be aimed at")
          .optional("protected_interfaces", &Policy::protected_interfaces,
                    "devices that no fault may be aimed at")
          .optional("protected_paths", &Policy::protected_paths,
                    "paths whose file systems and disks no fault may be aimed at")
          .optional("ignored_changes", &Policy::ignored_changes,
                    "what is not compared before and after a run, as reports name it, with * and ?: \"mount "
                    "/run/docker/*\"")
          .rule([](const Policy& policy, const Value& value, Diagnostics& wrong) {
            std::vector<std::string> known;
            for (auto* fault : fault_catalogue())
              known.emplace_back(fault->name);
            for (auto& name : policy.faults) {
              if (contains(known, name)) continue;
              const auto close = nearest(name, known);
              wrong.error(value.find("faults")->place,
                          fmt::format("unknown fault \"{}\"{}", name,
                                      close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close)));
            }
          });
  return schema;
}

std::string Policy::refuses_environment(const std::string& wanted) const {
  if (environment.empty() || wanted.empty() || environment == wanted) return "";
  return fmt::format("this host belongs to the environment \"{}\" ({}), the drill is for \"{}\"", environment,
                     source, wanted);
}

std::string Policy::refuses(const FaultType& fault, const TargetSpec& target, std::int64_t for_ns) const {
  if (!faults.empty() && !contains(faults, fault.name))
    return fmt::format("this host allows only {} (\"faults\" in {}), not {}", fmt::join(faults, ", "), source,
                       fault.name);
  if (for_ns > longest.ns)
    return fmt::format("this host allows no fault longer than {} (\"longest\" in {}), got {}",
                       to_string(longest), source, to_string(Duration{for_ns}));
  if (target.pid && contains(own_line(), *target.pid))
    return fmt::format("pid {} is protected always: it is {}", *target.pid,
                       *target.pid == 1 ? "the first process" : "squall, or what started it");
  Reach named;
  std::vector<block::Device> devices;
  if (target.path) {
    if (auto below = block::devices_below(*target.path)) devices = below->devices;
  } else if (target.device) {
    if (auto device = block::find_device(*target.device)) devices = {*device};
  }
  for (auto& device : devices)
    named.disks.push_back(block::whole_disk(device).id());
  return refuses(named);
}

std::string Policy::refuses(const std::vector<Process>& processes) const {
  const auto line = own_line();
  for (auto& process : processes) {
    const auto exe = fs::path(process.exe).filename().string();
    if (contains(line, process.pid) || contains(always_protected, exe))
      return fmt::format("the process {} is protected always", process.to_string());
    for (auto& name : {exe, process.exe, process.name})
      if (contains(protected_processes, name))
        return fmt::format("the process {} is protected (\"protected_processes\" in {})", process.to_string(),
                           source);
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
