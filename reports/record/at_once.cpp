#include "reports/record/at_once.hpp"

#include <algorithm>
#include <set>

#include "reports/record/text.hpp"

namespace squall {
namespace {

double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

void judge(std::vector<FaultRecord*>& hosts, std::int64_t last_t) {
  auto by_start = [](auto* a, auto* b) { return *a->applied_t < *b->applied_t; };
  auto end_of = [&](auto* fault) { return fault->undone_t.value_or(last_t); };
  const auto [first, last] = std::minmax_element(hosts.begin(), hosts.end(), by_start);
  const auto gone =
      *std::min_element(hosts.begin(), hosts.end(), [&](auto* a, auto* b) { return end_of(a) < end_of(b); });
  const auto apart = *(*last)->applied_t - *(*first)->applied_t;
  const bool never = (*first)->lasting && *(*last)->applied_t >= end_of(gone);
  const auto why =
      !never
          ? ""
          : fmt::format(
                "it was never in force on all {} hosts at once: it began on {} {} after it had ended on {}",
                hosts.size(), (*last)->host, text::seconds(seconds(*(*last)->applied_t - end_of(gone))),
                gone->host);
  for (auto* fault : hosts) {
    if (!fault->dose) continue;
    fault->dose->measured["began_apart_ns"] = apart;
    if (!never) continue;
    fault->dose->reason =
        fault->dose->verified || fault->dose->reason.empty() ? why : fault->dose->reason + "; " + why;
    fault->dose->verified = false;
  }
}

}  // namespace

void judge_at_once(RunRecord& record) {
  std::set<std::string> steps;
  for (auto& fault : record.faults)
    steps.insert(fault.step);
  for (auto& step : steps) {
    std::vector<FaultRecord*> hosts;
    for (auto& fault : record.faults)
      if (fault.step == step && fault.applied_t) hosts.push_back(&fault);
    if (hosts.size() > 1) judge(hosts, record.last_t);
  }
}

}  // namespace squall
