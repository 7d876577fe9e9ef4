#include "reports/judge/service_verdict.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "reports/record/text.hpp"

namespace squall {
namespace {

std::string in_words(const Recovery& recovery) {
  if (!recovery.seen) return "not seen after the last fault's end";
  if (!recovery.seconds && !recovery.bad) return "good, watched too short to be sure";
  if (!recovery.seconds) return "not back by the end";
  if (*recovery.seconds == 0)
    return recovery.unseen_s > 0 ? fmt::format("unseen for {}, then well", text::seconds(recovery.unseen_s))
                                 : "at once";
  return fmt::format("back after {}", text::seconds(*recovery.seconds));
}

// What a probe saw in each window.
std::map<std::string, Figures> over(const std::map<std::string, WindowSpan>& windows,
                                    const std::vector<ServiceSample>& samples) {
  std::map<std::string, Figures> out;
  for (auto& [window, span] : windows)
    if (auto seen = figures(samples, span.start_t, *span.end_t); seen.probes || seen.unseen)
      out[window] = std::move(seen);
  return out;
}

// The slowest of the probes to come back; one that did not outweighs the others.
const ProbeVerdict* slowest(const std::vector<ProbeVerdict>& probes) {
  auto weight = [](const ProbeVerdict& one) {
    return !one.recovery.seen ? -1 : one.recovery.seconds.value_or(std::numeric_limits<double>::infinity());
  };
  auto most =
      std::max_element(probes.begin(), probes.end(), [&](auto& a, auto& b) { return weight(a) < weight(b); });
  return most == probes.end() ? nullptr : &*most;
}

}  // namespace

std::vector<std::string> services_of(const RunRecord& record) {
  std::set<std::string> out;
  for (auto& series : record.probes)
    out.insert(series.service);
  for (auto& [name, service] : record.scenario.landscape.services)
    if (!service.probes.empty()) out.insert(name);
  return {out.begin(), out.end()};
}

ServiceVerdict observe_service(const RunRecord& record, const std::string& name,
                               const std::map<std::string, WindowSpan>& windows) {
  ServiceVerdict out;
  out.service = name;
  if (auto found = record.scenario.landscape.services.find(name);
      found != record.scenario.landscape.services.end())
    out.squad = found->second.squad;
  out.windows = over(windows, samples_of(record, name));
  const auto ended = windows.contains("recovery") ? record.faults_ended_t() : std::nullopt;
  const auto steady = steady_state(record.scenario, name);
  for (auto* series : probes_of(record, name)) {
    const auto samples = samples_of(record, *series);
    ProbeVerdict probe{series->probe, over(windows, samples), {}, ""};
    if (ended) {
      probe.recovery = recovery(samples, steady, *ended, *windows.at("recovery").end_t);
      probe.recovered = in_words(probe.recovery);
    }
    out.probes.push_back(std::move(probe));
  }
  // One that never came to be due is one that nothing is known of.
  if (auto found = record.scenario.landscape.services.find(name);
      found != record.scenario.landscape.services.end())
    for (auto& declared : found->second.probes)
      if (std::none_of(out.probes.begin(), out.probes.end(),
                       [&](auto& probe) { return probe.probe == declared.name; }))
        out.probes.push_back({declared.name, {}, {}, ended ? in_words({}) : ""});
  if (auto* last = slowest(out.probes); last && ended) {
    out.time_to_recover_s = last->recovery.seconds;
    out.recovery = last->recovered;
  }
  return out;
}

std::string name_of(const ServiceVerdict& service, const ProbeVerdict& probe) {
  return service.probes.size() < 2 ? service.service : fmt::format("{}, {}", service.service, probe.probe);
}

const ProbeVerdict* worst_probe(const ServiceVerdict& service) {
  const ProbeVerdict* out = nullptr;
  auto during = [](const ProbeVerdict& probe) -> const Figures& { return probe.windows.at("fault"); };
  auto p99 = [&](const ProbeVerdict& probe) {
    return during(probe).latency ? during(probe).latency->p99_ms : 0;
  };
  for (auto& probe : service.probes) {
    if (auto found = probe.windows.find("fault"); found == probe.windows.end() || !found->second.probes)
      continue;
    if (!out ||
        std::pair(during(probe).availability, -p99(probe)) < std::pair(during(*out).availability, -p99(*out)))
      out = &probe;
  }
  return out;
}

std::string describe_connections(const ProbeVerdict& probe) {
  std::int64_t asked = 0, opened = 0;
  for (auto& [window, seen] : probe.windows)
    asked += seen.probes, opened += seen.opened;
  return opened ? fmt::format("{} of {} by a new connection", text::count(opened), text::count(asked)) : "";
}

std::vector<std::string> describe_gaps(const RunRecord& record) {
  std::vector<std::string> out;
  for (auto& gap : record.gaps) {
    std::int64_t lost = 0;
    for (auto& series : record.probes)
      lost += std::count_if(series.samples.begin(), series.samples.end(), [&](auto& sample) {
        return sample.unseen && sample.due_ns < gap.to_t && sample.due_ns + sample.latency_ns >= gap.from_t;
      });
    out.push_back(fmt::format(
        "squall {} for {} from {} on: {} probes say nothing, and what happened meanwhile was not seen",
        gap.suspended_ns > (gap.to_t - gap.from_t) / 2 ? "slept with its host"
                                                       : "stood still (stopped, or without processor time)",
        text::seconds(static_cast<double>(gap.to_t - gap.from_t) / 1e9),
        text::clock(record.wall_ns(gap.from_t)), text::count(lost)));
  }
  return out;
}

}  // namespace squall
