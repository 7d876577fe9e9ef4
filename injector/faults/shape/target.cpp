#include "injector/faults/shape/target.hpp"

#include <algorithm>
#include <filesystem>
#include <random>

#include <fmt/format.h>

#include "injector/faults/aim/selected.hpp"

namespace squall::faults {

Target::Target(const TargetSpec& spec, const Setting& setting) : spec_(spec), setting_(setting) {}

const std::vector<Process>& Target::processes() {
  if (!processes_.empty()) return processes_;
  if (!spec_.selects_processes())
    throw Unfit("expected a process selector, such as exe, command, listens_on, pid or unit; got none");
  auto selected = select_processes(spec_, setting_);
  if (!selected) throw Unfit(selected.error());
  if (selected->processes.empty()) throw Unfit(none_selected(spec_, *selected));
  return processes_ = std::move(selected->processes);
}

std::vector<Process> Target::pick(const Amount& amount) {
  auto out = processes();
  const auto wanted = static_cast<std::size_t>(amount.of(static_cast<std::int64_t>(out.size())));
  std::mt19937_64 random{setting_.seed};
  std::shuffle(out.begin(), out.end(), random);
  out.resize(std::min(wanted, out.size()));
  std::sort(out.begin(), out.end(), [](auto& one, auto& other) { return one.pid < other.pid; });
  return out;
}

std::vector<Process> Target::again() const {
  auto selected = select_processes(spec_, setting_);
  return selected ? std::move(selected->processes) : std::vector<Process>{};
}

std::string Target::path() const {
  if (!spec_.path) throw Unfit("expected a path on the file system that is meant; got none");
  std::error_code error;
  if (!std::filesystem::exists(*spec_.path, error))
    throw Unfit(fmt::format("{}: No such file or directory", *spec_.path));
  return std::filesystem::canonical(*spec_.path, error).string();
}

std::vector<std::string> process_keys() {
  return {"exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup", "container", "user"};
}

std::vector<std::string> names_of(const std::vector<Process>& processes) {
  std::vector<std::string> out;
  for (auto& process : processes)
    out.push_back(process.to_string());
  return out;
}

std::vector<std::string> claims_on(const std::vector<Process>& processes) {
  std::vector<std::string> out;
  for (auto& process : processes)
    out.push_back("process " + process.to_string());
  return out;
}

}  // namespace squall::faults
