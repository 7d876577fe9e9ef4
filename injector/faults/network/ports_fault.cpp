#include "injector/faults/network/ports_fault.hpp"

#include "injector/system/network_namespace.hpp"

namespace squall::faults {

// Once the sockets are closed there is nothing more to see.
void PortsFault::stopping() {
  measure();
  stopped_ = true;
}

Dose PortsFault::measure() {
  if (!stopped_) in_network_namespace_if_there(place_.network_namespace, place_.pid, [&] { last_ = look(); });
  return place_.watch.in_view(last_);
}

void PortsFault::in_place(const std::function<void()>& act) const {
  in_network_namespace(place_.network_namespace, place_.pid, act);
}

Change PortsFault::change(std::string what) {
  Change out;
  out.what = std::move(what);
  out.undo_note = "the sockets are closed, with this process at the latest";
  out.release = [this] {
    held_.give_back();
    return Undone{};
  };
  return out;
}

std::optional<NetworkPlace> place_of_ports(const TargetSpec& on, const Setting& setting,
                                           Diagnostics& diagnostics) {
  if (!on.interface || *on.interface == "any") return find_place(on, setting, diagnostics);
  diagnostics.error(
      {}, "ports are of all interfaces: aim at interface any, or at a process for its network namespace");
  return {};
}

const std::vector<std::string>& aims_of_ports() {
  static const std::vector<std::string> out{"interface", "exe",  "command", "listens_on", "pid",
                                            "pidfile",   "unit", "cgroup",  "container",  "user"};
  return out;
}

Capability ports_by_sockets(std::string missing) {
  const bool possible = missing.empty();
  return {.mechanism = std::string(ports_mechanism),
          .possible = possible,
          .chosen = possible,
          .missing = std::move(missing),
          .note = "",
          .measures =
              "whether anybody else could have the ports, and whether an ordinary socket that connects to "
              "several peers finds one; not who wanted them"};
}

}  // namespace squall::faults
