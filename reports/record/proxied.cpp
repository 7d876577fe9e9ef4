#include "reports/record/proxied.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace squall {
namespace {

bool by_proxy(const FaultRecord& fault) {
  return (fault.fault.starts_with("tcp.") || fault.fault.starts_with("http.")) && fault.lasting &&
         fault.applied_t;
}

// The ports whose connections a step leads through its proxy; none where it does not say, which may be every
// port.
std::set<std::uint64_t> ports_of(const Scenario& scenario, const Step& step) {
  std::set<std::uint64_t> out;
  if (step.on.target.listens_on) out.insert(*step.on.target.listens_on);
  if (step.on.service && !step.on.target.selects_processes()) {
    auto found = scenario.landscape.services.find(*step.on.service);
    if (found != scenario.landscape.services.end() && found->second.processes.listens_on)
      out.insert(*found->second.processes.listens_on);
  }
  if (const auto* port = step.with.kind == Value::Kind::map ? step.with.find("port") : nullptr) {
    const auto add = [&](const Value& one) { out.insert(std::strtoull(one.text.c_str(), nullptr, 10)); };
    if (port->kind == Value::Kind::list)
      for (auto& item : port->items)
        add(item);
    else
      add(*port);
  }
  return out;
}

std::uint64_t port_of(const ProbeSpec& probe) {
  const auto colon = probe.object.rfind(':');
  return colon == std::string::npos ? 0 : std::strtoull(probe.object.c_str() + colon + 1, nullptr, 10);
}

const ProbeSpec* spec_of(const RunRecord& record, const ProbeSeries& series) {
  auto service = record.scenario.landscape.services.find(series.service);
  if (service == record.scenario.landscape.services.end()) return nullptr;
  for (auto& probe : service->second.probes)
    if (probe.name == series.probe) return &probe;
  return nullptr;
}

// Whether this fault accepts what that probe asks.
bool accepts(const RunRecord& record, const FaultRecord& fault, const ProbeSeries& series,
             const ProbeSpec& probe) {
  for (auto& step : record.scenario.method) {
    if (step.name != fault.step) continue;
    if (step.on.service == series.service) return true;
    const auto ports = ports_of(record.scenario, step);
    return ports.empty() ? step.on.target.empty() && !step.on.service : ports.contains(port_of(probe));
  }
  return false;
}

}  // namespace

void mark_proxied_handshakes(RunRecord& record) {
  for (auto& series : record.probes) {
    const auto* probe = spec_of(record, series);
    if (!probe || probe->kind != ProbeSpec::Kind::tcp) continue;
    for (auto& fault : record.faults) {
      if (!by_proxy(fault) || !accepts(record, fault, series, *probe)) continue;
      for (auto& sample : series.samples) {
        const auto answered = sample.due_ns + sample.latency_ns;
        if (!sample.ok || answered < *fault.applied_t ||
            sample.due_ns > fault.undone_t.value_or(record.last_t))
          continue;
        sample.ok = false;
        sample.unseen = true;
        sample.error = fmt::format(
            "{} ({}) accepted the connection, so that nobody knows whether the service would have",
            fault.step, fault.fault);
      }
    }
  }
}

}  // namespace squall
