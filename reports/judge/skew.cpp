#include "reports/judge/skew.hpp"

#include <algorithm>
#include <map>

#include "reports/record/text.hpp"

namespace squall {
namespace {

// One step over all of its hosts.
struct Spread {
  std::string first_host, last_host;
  std::int64_t first_t = 0, last_t = 0;   // when it began, on the first and on the last host
  std::optional<std::int64_t> first_end;  // when it was over on the first host where it was
  std::int64_t error_ns = 0;
  std::size_t hosts = 0;
};

std::map<std::string, Spread> spreads(const RunRecord& record) {
  std::map<std::string, Spread> out;
  for (auto& fault : record.faults) {
    if (!fault.applied_t) continue;
    auto& one = out[fault.step];
    if (!one.hosts || *fault.applied_t < one.first_t)
      one.first_t = *fault.applied_t, one.first_host = fault.host;
    if (!one.hosts || *fault.applied_t > one.last_t)
      one.last_t = *fault.applied_t, one.last_host = fault.host;
    if (fault.lasting && fault.undone_t)
      one.first_end = std::min(one.first_end.value_or(*fault.undone_t), *fault.undone_t);
    one.error_ns = std::max(one.error_ns, fault.clock_error_ns);
    ++one.hosts;
  }
  std::erase_if(out, [](auto& item) { return item.second.hosts < 2; });
  return out;
}

std::string span(std::int64_t ns) {
  return text::seconds(static_cast<double>(ns) / 1e9);
}

}  // namespace

std::vector<std::string> skews(const RunRecord& record) {
  constexpr std::int64_t noticeable_ns = 100'000'000;
  std::vector<std::string> out;
  for (auto& [step, one] : spreads(record)) {
    const auto apart = one.last_t - one.first_t;
    const bool tenth = one.first_end && apart * 10 > *one.first_end - one.first_t;
    if (apart <= one.error_ns || (apart < noticeable_ns && !tenth)) continue;
    out.push_back(
        fmt::format("{} began on {} {} after {}{}", step, one.last_host, span(apart), one.first_host,
                    one.error_ns > 1'000'000 ? fmt::format(" (known within {})", span(one.error_ns)) : ""));
  }
  return out;
}

std::vector<std::string> never_whole(const RunRecord& record) {
  std::vector<std::string> out;
  for (auto& [step, one] : spreads(record))
    if (one.first_end && *one.first_end <= one.last_t)
      out.push_back(fmt::format(
          "{}: over on one host before it began on {}, {} after {}: it was never in force as a whole", step,
          one.last_host, span(one.last_t - one.first_t), one.first_host));
  return out;
}

}  // namespace squall
