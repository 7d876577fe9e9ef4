#include "controller/plan/foresight.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "controller/plan/planner.hpp"
#include "reports/judge/expectation.hpp"

namespace squall {
namespace {

// How often the rarest probe of a service asks from the first fault's start to the last one's end.
double probes_during(const Scenario& scenario, const ServiceSpec& service) {
  const double lasts_s = std::chrono::duration<double>(method_time(scenario)).count();
  double out = 1e18;
  for (auto& probe : service.probes)
    if (probe.every.ns > 0) out = std::min(out, lasts_s / probe.every.seconds());
  return out;
}

void too_few_probes(const Scenario& scenario, const Expectation& expected, std::vector<std::string>& out) {
  const auto service = scenario.landscape.services.find(*expected.service);
  if (service == scenario.landscape.services.end() || service->second.probes.empty()) return;
  const double due = std::floor(probes_during(scenario, service->second));
  const auto tell = [&](const std::string& what, std::int64_t needed) {
    if (due < static_cast<double>(needed))
      out.push_back(
          fmt::format("service {}: {} takes {} probes to tell, and about {:.0f} are due while the faults "
                      "last: probe more often, or longer",
                      *expected.service, what, needed, due));
  };
  if (expected.availability)
    tell("availability " + to_string(*expected.availability), enough_for(*expected.availability));
  const auto latency = [&](const char* name, double q, auto& bound) {
    if (bound) tell(fmt::format("latency {} {}", name, to_string(*bound)), enough_for(q));
  };
  latency("p50", 0.5, expected.latency_p50), latency("p90", 0.9, expected.latency_p90);
  latency("p99", 0.99, expected.latency_p99), latency("max", 1, expected.latency_max);
}

}  // namespace

std::vector<std::string> foresee(const Scenario& scenario) {
  std::vector<std::string> out;
  const auto& sources = scenario.landscape.alert_sources;
  const bool webhook = std::any_of(sources.begin(), sources.end(), [](auto& source) {
    return source.kind == AlertSourceSpec::Kind::webhook;
  });
  for (auto& expected : scenario.expect) {
    if (expected.service) too_few_probes(scenario, expected, out);
    if (expected.reaches && expected.alert && !webhook)
      out.push_back(
          fmt::format("alert {}: that it reaches {} is witnessed by a webhook only, and alert_sources have "
                      "none: add \"- webhook: HOST:PORT\", and a receiver that posts there",
                      *expected.alert, *expected.reaches));
  }
  return out;
}

}  // namespace squall
