#include "injector/faults/shape/target.hpp"

#include <algorithm>

#include "injector/faults/aim/network_device.hpp"
#include "injector/faults/aim/network_packets.hpp"

namespace squall::faults {

std::vector<Process> Target::processes(const Amount& count) {
  if (!on_.selects_processes())
    refuse("", "expected a process selector, such as exe, command, listens_on, pid or unit; got none");
  auto found = again();
  if (!found) refuse("", found.error());
  if (found->processes.empty()) refuse("", none_selected(on_, *found));
  matching_ = std::move(found->processes);
  auto out = pick(matching_, count);
  for (auto& process : out)
    name(process.to_string());
  reach_.processes.insert(reach_.processes.end(), out.begin(), out.end());
  return out;
}

std::vector<Process> Target::pick(std::vector<Process> out, const Amount& count) {
  for (std::size_t i = 0; i + 1 < out.size(); ++i)
    std::swap(out[i], out[i + random_() % (out.size() - i)]);
  out.resize(static_cast<std::size_t>(count.of(static_cast<std::int64_t>(out.size()))));
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  return out;
}

AimedDevice Target::device() {
  Diagnostics diagnostics;
  auto device = find_device(on_, setting_, diagnostics);
  if (!device) throw WrongInput(diagnostics.errors().front().place, diagnostics.errors().front().message);
  reach_ = device->place.reach({device->state.link.index});
  return std::move(*device);
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
  throw WrongInput(!*parameter ? Place{} : place_of(with_, parameter), why);
}

const std::vector<std::string>& process_aims() {
  static const std::vector<std::string> out{"exe",  "command", "listens_on", "pid", "pidfile",
                                            "unit", "cgroup",  "container",  "user"};
  return out;
}

}  // namespace squall::faults
