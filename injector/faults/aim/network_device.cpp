#include "injector/faults/aim/network_device.hpp"

#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/system/network_namespace.hpp"

namespace squall::faults {

pid_t AimedDevice::hint() const {
  return place.pid ? place.pid : ::getpid();
}

void AimedDevice::in_place(const std::function<void()>& act) const {
  in_network_namespace(place.network_namespace, place.pid, act);
}

void AimedDevice::look_again() {
  in_place([&] { state = links::read_state(state.link.name).value_or(state); });
  place.watch.expect(state.link);
}

void AimedDevice::change(Transaction& host, std::string what, Inverse inverse,
                         std::function<void()> act) const {
  Change change{.what = std::move(what), .inverse = std::move(inverse)};
  change.act = [this, act = std::move(act)] { in_place(act); };
  host.add(std::move(change));
}

std::string AimedDevice::to_string() const {
  return place.pid ? fmt::format("{} of {}", state.link.name, place.name) : state.link.name;
}

std::optional<AimedDevice> find_device(const TargetSpec& on, const Setting& setting,
                                       Diagnostics& diagnostics) {
  if (!on.interface || *on.interface == "any") {
    diagnostics.error({}, "expected the name of one device");
    return {};
  }
  auto place = find_place(on, setting, diagnostics);
  if (!place) return {};
  AimedDevice out{.state = {}, .place = std::move(*place), .uppers_elsewhere = {}};
  std::optional<links::InterfaceState> state;
  std::vector<std::string> names;
  try {
    out.in_place([&] {
      state = links::read_state(*on.interface);
      for (auto& link : links::all())
        names.push_back(link.name);
      if (state) out.uppers_elsewhere = links::uppers_elsewhere(state->link);
    });
  } catch (const std::exception& e) {
    diagnostics.error({}, e.what());
    return {};
  }
  if (!state) {
    diagnostics.error({}, fmt::format("no interface is called \"{}\"; there are {}", *on.interface,
                                      fmt::join(names, ", ")));
    return {};
  }
  out.state = std::move(*state);
  out.place.watch.expect(out.state.link);
  return out;
}

const std::vector<std::string>& device_aims() {
  static const std::vector<std::string> out{"interface", "exe",  "command", "listens_on", "pid",
                                            "pidfile",   "unit", "cgroup",  "container",  "user"};
  return out;
}

std::string needs_network_admin() {
  return ::geteuid() == 0 ? "" : "root, or CAP_NET_ADMIN";
}

std::vector<Capability> device_doctor(std::string measures) {
  const bool root = ::geteuid() == 0;
  return {{.mechanism = std::string(device_mechanism),
           .possible = root,
           .chosen = root,
           .missing = root ? "" : "root, or CAP_NET_ADMIN",
           .note = "",
           .measures = std::move(measures)}};
}

}  // namespace squall::faults
