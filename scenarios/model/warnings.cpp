#include "scenarios/model/warnings.hpp"

#include <fmt/format.h>

namespace squall {
namespace {

// The shortest fault that lasts, and 0 where none does.
Duration shortest(const std::vector<Step>& method) {
  Duration out;
  for (auto& step : method)
    if (step.lasts && (out.ns == 0 || step.lasts->ns < out.ns)) out = *step.lasts;
  return out;
}

bool is_expected_of(const Scenario& scenario, const std::string& service) {
  return std::any_of(scenario.expect.begin(), scenario.expect.end(),
                     [&](auto& e) { return e.service == service; });
}

}  // namespace

std::vector<std::string> warnings(const Scenario& scenario) {
  std::vector<std::string> out;
  const auto fault = shortest(scenario.method);
  for (auto& [name, service] : scenario.landscape.services)
    for (auto& probe : service.probes) {
      auto warn = [&](Duration than, std::string_view what, std::string_view so) {
        if (than.ns > 0 && probe.timeout.ns > than.ns)
          out.push_back(fmt::format("probe \"{}\" of {}: its timeout of {} is longer than {} of {}, so {}",
                                    probe.name, name, to_string(probe.timeout), what, to_string(than), so));
      };
      for (auto& condition : scenario.halt_when)
        if (condition.service == name)
          warn(condition.over, "the halt condition's window", "a slow answer is no answer to it");
      if (!is_expected_of(scenario, name)) continue;
      warn(fault, "the shortest fault", "what hangs in it is known to have failed only after it");
      warn(scenario.recovery.lasts, "the recovery window",
           "the drill may end before it is known whether the service is back");
    }
  return out;
}

}  // namespace squall
