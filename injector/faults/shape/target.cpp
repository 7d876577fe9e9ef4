#include "injector/faults/shape/target.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "injector/faults/aim/network_device.hpp"
#include "injector/faults/aim/network_packets.hpp"

namespace squall::faults {

const std::vector<Process>& Target::processes() {
  if (!processes_.empty()) return processes_;
  if (!on_.selects_processes())
    throw Unfit("expected a process selector, such as exe, command, listens_on, pid or unit; got none");
  auto found = select_processes(on_, setting_);
  if (!found) throw Unfit(found.error());
  if (found->processes.empty()) throw Unfit(none_selected(on_, *found));
  return processes_ = std::move(found->processes);
}

std::vector<Process> Target::pick(const Amount& count) {
  auto out = draw(processes(), count);
  for (auto& process : out)
    name(process.to_string());
  reach_.processes.insert(reach_.processes.end(), out.begin(), out.end());
  return out;
}

std::vector<Process> Target::draw(std::vector<Process> out, const Amount& count) {
  for (std::size_t i = 0; i + 1 < out.size(); ++i)
    std::swap(out[i], out[i + random_() % (out.size() - i)]);
  out.resize(static_cast<std::size_t>(count.of(static_cast<std::int64_t>(out.size()))));
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  return out;
}

std::vector<Process> Target::again() const {
  auto found = select_processes(on_, setting_);
  return found ? std::move(found->processes) : std::vector<Process>{};
}

std::string Target::path() const {
  if (!on_.path) throw Unfit("expected a path on the file system that is meant; got none");
  std::error_code error;
  if (!std::filesystem::exists(*on_.path, error)) throw Unfit(*on_.path + ": No such file or directory");
  return std::filesystem::canonical(*on_.path, error).string();
}

AimedDevice Target::device() {
  Diagnostics diagnostics;
  auto device = find_device(on_, setting_, diagnostics);
  if (!device) throw Unfit(diagnostics.errors().front().message, diagnostics.errors().front().place);
  reach_ = device->place.reach({device->state.link.index});
  return std::move(*device);
}

std::string Target::folder() {
  const auto named = path();
  std::error_code error;
  const auto out = std::filesystem::canonical(named, error);
  if (error || !std::filesystem::is_directory(out, error)) refuse("", fmt::format("{} is no folder", named));
  name("the file system of " + out.string());
  return out.string();
}

bool Target::permits(pid_t pid) const {
  const auto now = read_process(pid);
  return !now || setting_.permits(*now);
}

void Target::claim(const std::string& resource, const std::vector<Process>& processes) {
  for (auto& process : processes)
    claim({.resource = resource, .scope = process.to_string()});
}

void Target::refuse(const char* parameter, const std::string& why) const {
  throw Unfit(why, !*parameter ? Place{} : place_of(with_, parameter));
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
  auto out = names_of(processes);
  for (auto& name : out)
    name.insert(0, "process ");
  return out;
}

}  // namespace squall::faults
