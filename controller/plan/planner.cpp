#include "controller/plan/planner.hpp"

#include <cmath>
#include <set>

#include "controller/plan/seed.hpp"
#include "controller/plan/topology.hpp"
#include "injector/faults/claims.hpp"
#include "injector/faults/fault.hpp"
#include "injector/faults/needed_aim.hpp"
#include "injector/session/protocol.hpp"

namespace squall {
namespace {

bool carries(const HostSpec& host, const std::map<std::string, std::string>& labels) {
  for (auto& [key, value] : labels) {
    auto found = host.labels.find(key);
    if (found == host.labels.end() || found->second != value) return false;
  }
  return true;
}

std::vector<std::string> choose(std::vector<std::string> from, std::size_t count, std::uint64_t seed) {
  auto out = draw(std::move(from), count, seed);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> pick(const Selector& on, std::vector<std::string> matching, std::uint64_t seed) {
  if (on.pick) return choose(std::move(matching), static_cast<std::size_t>(*on.pick), seed);
  if (on.share) {
    // A bound: never more than that.
    const auto wanted = std::floor(static_cast<double>(matching.size()) * on.share->fraction() + 1e-9);
    return choose(std::move(matching), static_cast<std::size_t>(wanted), seed);
  }
  return matching;
}

void check_blast_radius(const Scenario& scenario, const std::set<std::string>& touched, std::size_t all,
                        Diagnostics& diagnostics) {
  const auto& radius = scenario.blast_radius;
  const auto place = scenario.method.empty() ? Place{} : scenario.method.front().place;
  const auto most = radius.hosts ? *radius.hosts : radius.share ? std::int64_t{1'000'000} : 1;
  if (static_cast<std::int64_t>(touched.size()) > most)
    diagnostics.error(
        place, fmt::format("the method touches {} hosts, the blast radius allows {}", touched.size(), most));
  const double share = 100.0 * static_cast<double>(touched.size()) / static_cast<double>(all);
  if (radius.share && share > radius.share->value + 1e-9)
    diagnostics.error(
        place, fmt::format("the method touches {:.0f}% of the hosts ({} of {}), the blast radius allows {}",
                           share, touched.size(), all, to_string(*radius.share)));
}

struct Times {
  std::chrono::nanoseconds start, end;  // after the method's start
};

// When each step is in force, if everything takes no longer than it should.
std::map<std::string, Times> times_of(const Scenario& scenario) {
  std::map<std::string, Times> out;
  // The reader has refused circles, so each round finds at least one.
  for (std::size_t round = 0; round < scenario.method.size(); ++round)
    for (auto& step : scenario.method) {
      const auto before = step.after ? out.find(*step.after) : out.end();
      if (step.after && before == out.end()) continue;
      const auto start = step.after ? before->second.end : step.at.value_or(Duration{0}).chrono();
      out[step.name] = {start, start + lasting(step)};
    }
  return out;
}

// How to have both all the same.
std::string in_one_step(const Step& one, const Step& other) {
  const auto *a = find_fault(one.fault), *b = find_fault(other.fault);
  if (!a || !b || a == b || a->together.empty() || a->together != b->together) return "";
  return fmt::format("; {} does both in one step", a->together);
}

}  // namespace

// How long an act without a `for:` is observed as the method's window.
constexpr std::chrono::seconds act_window{10};

std::chrono::nanoseconds lasting(const Step& step) {
  return step.lasts ? step.lasts->chrono() : act_window;
}

std::chrono::nanoseconds method_time(const Scenario& scenario) {
  std::optional<std::chrono::nanoseconds> start, end;
  for (auto& [step, times] : times_of(scenario)) {
    start = std::min(start.value_or(times.start), times.start);
    end = std::max(end.value_or(times.end), times.end);
  }
  return start ? *end - *start : std::chrono::nanoseconds{0};
}

void check_claims(const Scenario& scenario, const Plan& plan,
                  const std::vector<std::vector<std::string>>& claims, Diagnostics& diagnostics) {
  const auto times = times_of(scenario);
  for (std::size_t later = 0; later < plan.faults.size() && later < claims.size(); ++later)
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      auto& one = plan.faults[earlier];
      auto& other = plan.faults[later];
      const auto a = times.find(one.step->name), b = times.find(other.step->name);
      if (one.host != other.host || a == times.end() || b == times.end()) continue;
      if (a->second.end <= b->second.start || b->second.end <= a->second.start) continue;
      const auto both = clash(claims[later], claims[earlier]);
      if (!both) continue;
      diagnostics.error(
          other.step->place,
          fmt::format("step \"{}\" ({}) needs {} on {}, which step \"{}\" ({}) holds at the same time{}",
                      other.step->name, other.step->fault, both->told(), other.host, one.step->name,
                      one.step->fault, in_one_step(*one.step, *other.step)));
    }
}

namespace {

// Parameters travel to the host in one line.
void must_be_carried(const Step& step, const Value& with, Diagnostics& diagnostics) {
  constexpr std::size_t for_the_rest = 64 << 10;
  if (with.kind != Value::Kind::map ||
      boost::json::serialize(to_json(with)).size() + for_the_rest <= longest_request)
    return;
  diagnostics.error(
      with.place,
      fmt::format("the parameters of step \"{}\" take more than the {} MiB that can be sent to a host",
                  step.name, longest_request >> 20));
}

}  // namespace

std::string PlannedFault::deafness() const {
  return cannot_hear.empty() ? "" : fmt::format("{} cannot hear {}", host, fmt::join(cannot_hear, ", "));
}

std::vector<std::string> matching_hosts(const Selector& on, const Landscape& landscape,
                                        const std::map<std::string, HostSpec>& hosts) {
  std::vector<std::string> out;
  for (auto& [name, host] : hosts) {
    if (on.host && *on.host != name) continue;
    if (!carries(host, on.labels)) continue;
    if (on.service) {
      auto service = landscape.services.find(*on.service);
      if (service == landscape.services.end() || !carries(host, service->second.runs_on)) continue;
    }
    out.push_back(name);
  }
  return out;
}

Plan make_plan(const Scenario& scenario, std::uint64_t seed, Diagnostics& diagnostics) {
  Plan plan;
  plan.hosts = scenario.landscape.hosts;
  if (plan.hosts.empty()) plan.hosts["here"] = HostSpec{};
  std::set<std::string> touched;
  for (auto& step : scenario.method) {
    auto matching = matching_hosts(step.on, scenario.landscape, plan.hosts);
    if (matching.empty()) {
      diagnostics.error(step.place, fmt::format("step \"{}\" matches no host of the landscape", step.name));
      continue;
    }
    auto target = step.on.target;
    if (step.on.service && !target.selects_processes() && !target.interface && !target.device) {
      auto path = target.path;
      target = scenario.landscape.services.at(*step.on.service).processes;
      if (path) target.path = path;
    }
    const auto picked = pick(step.on, matching, derive(seed, "hosts of " + step.name));
    if (picked.empty())
      diagnostics.error(
          step.place,
          fmt::format("step \"{}\" is to hit at most {} of {} host{}, which is none", step.name,
                      to_string(*step.on.share), matching.size(), matching.size() == 1 ? "" : "s"));
    if (step.on.pick && static_cast<std::size_t>(*step.on.pick) > matching.size())
      plan.notes.push_back(
          fmt::format("step \"{}\" is to pick {} hosts, and only {} match: it hits all of them", step.name,
                      *step.on.pick, matching.size()));
    if (const auto needed = needed_aim(step.fault); !needed.empty() && target.empty())
      diagnostics.error(step.place,
                        fmt::format("step \"{}\" has no target: {} needs {}", step.name, step.fault, needed));
    touched.insert(picked.begin(), picked.end());
    const auto add = [&](const std::string& host, const Value& with,
                         const std::vector<std::string>& deaf_to) {
      must_be_carried(step, with, diagnostics);
      plan.faults.push_back({&step, host, target, derive(seed, step.name + " on " + host), with, deaf_to});
    };
    if (has_topology(step)) {
      for (auto& part :
           partition(step, picked, plan.hosts, derive(seed, "topology of " + step.name), diagnostics))
        add(part.host, part.with, part.cannot_hear);
    } else {
      for (auto& host : picked)
        add(host, step.with, {});
    }
  }
  check_blast_radius(scenario, touched, plan.hosts.size(), diagnostics);
  return plan;
}

}  // namespace squall
