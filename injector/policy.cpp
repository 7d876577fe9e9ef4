#include "injector/policy.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace squall {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

}  // namespace

const Object<Policy>& Describe<Policy>::object() {
  static const auto schema =
      Object<Policy>{"what may be done on this host"}
          .optional("environment", &Policy::environment, "drills that name another environment are refused")
          .optional("faults", &Policy::faults, "the faults allowed", "all")
          .optional("longest", &Policy::longest, "no fault lasts longer", "1h")
          .optional("protected_processes", &Policy::protected_processes, "executables that no fault may be aimed at")
          .optional("protected_interfaces", &Policy::protected_interfaces, "devices that no fault may be aimed at")
          .optional("protected_paths", &Policy::protected_paths, "file systems that no fault may be aimed at");
  return schema;
}

std::string Policy::refuses(const FaultType& fault, const TargetSpec& target, std::int64_t for_ns) const {
  if (!faults.empty() && !contains(faults, std::string(fault.name)))
    return fmt::format("the host's policy does not allow {}", fault.name);
  if (for_ns > longest.ns)
    return fmt::format("the host's policy allows no fault longer than {}, {} were asked for", to_string(longest), to_string(Duration{for_ns}));
  if (target.interface && contains(protected_interfaces, *target.interface))
    return fmt::format("the host's policy protects the interface \"{}\"", *target.interface);
  for (auto& path : protected_paths)
    if (target.path && (*target.path == path || target.path->starts_with(path.ends_with('/') ? path : path + "/")))
      return fmt::format("the host's policy protects the path \"{}\"", path);
  return "";
}

std::string Policy::refuses(const std::vector<Process>& processes) const {
  for (auto& process : processes) {
    const auto exe = std::filesystem::path(process.exe).filename().string();
    if (exe == "sshd" || exe == "squall-injector" || contains(protected_processes, exe) || contains(protected_processes, process.name))
      return fmt::format("the host's policy protects the process {}", process.to_string());
  }
  return "";
}

Policy read_policy(const std::string& path, bool must_exist) {
  std::error_code error;
  if (!must_exist && !std::filesystem::exists(path, error)) return {};
  Diagnostics unreadable{path};
  const auto text = read_text_file(path, unreadable);
  Diagnostics wrong{path, text};
  Policy out;
  if (unreadable.ok()) {
    const auto document = parse_document(text, wrong);
    if (document.kind != Value::Kind::null && wrong.ok()) Codec<Policy>::decode(document, out, wrong);
  }
  if (!unreadable.ok() || !wrong.ok()) throw std::runtime_error(unreadable.render() + wrong.render());
  return out;
}

}  // namespace squall
