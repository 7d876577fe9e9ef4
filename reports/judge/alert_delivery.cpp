#include "reports/judge/alert_delivery.hpp"

#include <algorithm>

#include "reports/judge/alert_sight.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

std::string span(std::int64_t ns) {
  return text::seconds(static_cast<double>(ns) / 1e9);
}

std::string whose(const AlertRouted& routed) {
  return routed.squad.empty() ? routed.receiver : routed.squad;
}

std::optional<Undelivered> suppressed(const std::vector<FiredSpan>& fired) {
  for (auto& one : fired)
    for (auto& by : one.story->silenced) {
      if (by.t < one.from_t) continue;
      if (by.by == "a silence")
        return Undelivered{AlertOutcome::silenced, ", but a silence kept it from everybody"};
      if (by.by.starts_with("another alert"))
        return Undelivered{AlertOutcome::inhibited,
                           fmt::format(", but {} and kept it from everybody", by.by)};
      return Undelivered{AlertOutcome::unseen, fmt::format(", but was muted: {}", by.by)};
    }
  return std::nullopt;
}

// Another alert of the same group that Alertmanager had before this one, and not long enough ago that the
// group was told again.
bool group_was_open(const std::vector<AlertStory>& all, const FiredSpan& one, const AlertRouted& routed) {
  return std::any_of(all.begin(), all.end(), [&](const AlertStory& other) {
    if (&other == one.story) return false;
    const bool same_group = std::any_of(other.routed.begin(), other.routed.end(), [&](auto& r) {
      return r.receiver == routed.receiver && r.route && r.route->group == routed.route->group &&
             r.t < routed.t;
    });
    return same_group && std::any_of(other.episodes.begin(), other.episodes.end(), [&](auto& episode) {
             return episode.firing_t && *episode.firing_t < one.from_t &&
                    episode.resolved_t.value_or(one.from_t) >= one.from_t;
           });
  });
}

std::optional<Undelivered> by_its_route(const std::vector<AlertStory>& all, const FiredSpan& one,
                                        const AlertRouted& routed) {
  const auto& route = *routed.route;
  if (!route.muted_by.empty())
    return Undelivered{AlertOutcome::unseen,
                       fmt::format(", but was muted by the time interval {} of its route to {}",
                                   text::join(route.muted_by), routed.receiver)};
  const auto lasted = one.to_t - one.from_t;
  const bool open = group_was_open(all, one, routed);
  if (open && lasted < route.interval_ns)
    return Undelivered{AlertOutcome::unseen,
                       fmt::format(", but its group was told of before; what is new in it waits up to {} "
                                   "(group_interval of the route to {}), and it was there for {}",
                                   span(route.interval_ns), routed.receiver, span(lasted))};
  if (!open && lasted < route.wait_ns)
    return Undelivered{
        AlertOutcome::unseen,
        fmt::format(
            ", but is told of after {} at the earliest (group_wait of the route to {}), and was there for {}",
            span(route.wait_ns), routed.receiver, span(lasted))};
  return std::nullopt;
}

}  // namespace

std::vector<std::string> routed_to(const std::vector<FiredSpan>& fired) {
  std::vector<std::string> out;
  for (auto& one : fired)
    for (auto& routed : one.story->routed)
      if (std::find(out.begin(), out.end(), whose(routed)) == out.end()) out.push_back(whose(routed));
  return out;
}

std::optional<Undelivered> kept_from(const std::string& squad, const RunRecord& record,
                                     const std::vector<AlertStory>& all,
                                     const std::vector<FiredSpan>& fired) {
  if (auto why = suppressed(fired)) return why;
  const auto there = routed_to(fired);
  if (!there.empty() && std::find(there.begin(), there.end(), squad) == there.end())
    return Undelivered{
        AlertOutcome::wrong_squad,
        fmt::format(", but Alertmanager routes it to {} instead of {}", text::join(there), squad)};
  for (auto& one : fired)
    for (auto& routed : one.story->routed)
      if (routed.route && whose(routed) == squad)
        if (auto why = by_its_route(all, one, routed)) return why;
  for (auto& cut : record.cut)
    if (std::any_of(fired.begin(), fired.end(), [&](auto& one) { return cut.t >= one.from_t; }))
      return Undelivered{
          AlertOutcome::unseen,
          fmt::format(
              ", but whom it reached could not be seen: a notification to {} left out {} (max_alerts)",
              cut.receiver, cut.count == 1 ? "one alert" : text::count(cut.count) + " alerts")};
  return std::nullopt;
}

}  // namespace squall
