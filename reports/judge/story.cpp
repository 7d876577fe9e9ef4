#include "reports/judge/story.hpp"

#include <algorithm>

#include "reports/record/text.hpp"

namespace squall {
namespace {

std::string done(const RunRecord& record) {
  std::vector<std::string> parts;
  for (auto& fault : record.faults) {
    if (!fault.applied_t) continue;
    auto part = fmt::format("{} was applied to {}", fault.fault, fault.host);
    if (fault.targets.size() == 1) part += fmt::format(" ({})", fault.targets.front());
    if (fault.targets.size() > 1) part += fmt::format(" ({} targets)", fault.targets.size());
    if (auto lasted = in_force(fault); !lasted.empty()) part += " for " + lasted;
    if (fault.dose) part += fmt::format(": {}", text::dose_summary(*fault.dose));
    parts.push_back(std::move(part));
  }
  if (parts.empty()) return "Nothing was injected.";
  const auto window = record.fault_window();
  return fmt::format("At {} on {}, {}.", text::clock(record.wall_ns(window->start_t)),
                     text::day(record.wall_start_ns), text::join(parts, "; "));
}

struct Felt {
  bool fewer = false, slower = false;  // answers than before, and answers
};

Felt felt_by(const ProbeVerdict& probe) {
  auto during = probe.windows.find("fault"), before = probe.windows.find("baseline");
  if (during == probe.windows.end()) return {};
  const bool known = before != probe.windows.end();
  auto& now = during->second;
  return {.fewer = now.availability < (known ? before->second.availability : 1) - 0.001,
          .slower = now.latency && known && before->second.latency &&
                    now.latency->p99_ms > 2 * before->second.latency->p99_ms &&
                    now.latency->p99_ms > before->second.latency->p99_ms + 5};
}

// The worst of the services by what users felt, and how many felt nothing.
std::string felt(const Verdict& verdict) {
  std::vector<std::string> parts;
  std::size_t untouched = 0, seen = 0;
  for (auto& service : verdict.services) {
    const auto* worst = worst_probe(service);
    if (!worst) continue;
    ++seen;
    auto during = worst->windows.find("fault"), before = worst->windows.find("baseline");
    auto& now = during->second;
    const auto [fewer, slower] = felt_by(*worst);
    if (!fewer && !slower) {
      ++untouched;
      continue;
    }
    std::vector<std::string> how;
    if (fewer) how.push_back(fmt::format("answered {} of its probes", text::percent(now.availability)));
    if (slower)
      how.push_back(fmt::format("slowed from a p99 of {} to {}",
                                text::milliseconds(before->second.latency->p99_ms),
                                text::milliseconds(now.latency->p99_ms)));
    auto part = fmt::format("{} {}", name_of(service, *worst), text::join(how, " and "));
    if (service.time_to_recover_s && *service.time_to_recover_s > 0)
      part += fmt::format(", and was back {} after the last fault's end",
                          text::seconds(*service.time_to_recover_s));
    if (!service.time_to_recover_s)
      part +=
          fmt::format(", and was {}", service.recovery.empty() ? "not seen to recover" : service.recovery);
    parts.push_back(std::move(part));
  }
  if (!seen) return "";
  if (parts.empty())
    return seen == 1 ? fmt::format("{} was as good as before.", verdict.services.front().service)
                     : "No service was worse off than before.";
  auto out = text::join(parts, "; ");
  if (untouched)
    out += fmt::format("; {} other service{} felt nothing", untouched, untouched == 1 ? "" : "s");
  return out + ".";
}

std::string noticed(const Verdict& verdict) {
  std::vector<std::string> parts;
  for (auto& alert : verdict.alerts) {
    if (alert.expected)
      parts.push_back(fmt::format("The alert {} {}.", alert.alert, alert.text));
    else if (alert.outcome == AlertOutcome::unexpected)
      parts.push_back(fmt::format("Nobody expected {}, which {}.", alert.alert, alert.text));
  }
  if (parts.size() > 4) parts.resize(4);
  return text::join(parts, " ");
}

}  // namespace

bool was_affected(const ServiceVerdict& service) {
  const auto* worst = worst_probe(service);
  const auto [fewer, slower] = worst ? felt_by(*worst) : Felt{};
  return fewer || slower || (!service.recovery.empty() && service.time_to_recover_s.value_or(1) > 0);
}

std::string in_force(const FaultRecord& fault) {
  if (!fault.lasting || !fault.applied_t || !fault.undone_t) return "";
  return text::seconds(static_cast<double>(*fault.undone_t - *fault.applied_t) / 1e9);
}

std::string short_name(const FaultRecord& fault) {
  auto out = fmt::format("{} on {}", fault.fault, fault.host);
  if (fault.targets.size() == 1 && text::columns(fault.targets.front()) <= 48)
    out += fmt::format(" ({})", fault.targets.front());
  return out;
}

std::vector<std::string> story(const RunRecord& record, const Verdict& verdict) {
  std::vector<std::string> out;
  auto add = [&](std::string sentence) {
    if (!sentence.empty()) out.push_back(std::move(sentence));
  };
  add(done(record));
  if (!record.fault_window()) return out;
  add(felt(verdict));
  add(noticed(verdict));
  add(!verdict.restored   ? "Whether the hosts are as found is not known."
      : *verdict.restored ? "Every host was compared afterwards and is as found."
                          : "Not everything is as found.");
  return out;
}

}  // namespace squall
