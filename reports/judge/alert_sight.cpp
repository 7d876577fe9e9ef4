#include "reports/judge/alert_sight.hpp"

#include <algorithm>

#include "reports/record/text.hpp"

namespace squall {
namespace {

// A source that is away for less than this, and answers again, missed nothing that its next answer does not
// tell.
constexpr std::int64_t bearable_gap_ns = 5'000'000'000;
// What one source has, another has within this.
constexpr std::int64_t sources_agree_within_ns = 5'000'000'000;

using Source = std::pair<std::string, std::string>;

std::set<Source> sources(const RunRecord& record) {
  std::set<Source> out;
  for (auto& health : record.sources)
    out.emplace(health.source, health.address);
  return out;
}

const SourceHealth* last_health(const RunRecord& record, const Source& source) {
  const SourceHealth* out = nullptr;
  for (auto& health : record.sources)
    if (health.source == source.first && health.address == source.second) out = &health;
  return out;
}

// How long a source did not answer within [from, to].
std::int64_t dark_ns(const RunRecord& record, const Source& source, std::int64_t from, std::int64_t to) {
  std::int64_t dark = 0, since = from;
  bool ok = false;
  auto until = [&](std::int64_t t) {
    t = std::clamp(t, from, to);
    if (!ok) dark += std::max<std::int64_t>(0, t - since);
    since = t;
  };
  for (auto& health : record.sources) {
    if (health.source != source.first || health.address != source.second) continue;
    until(health.t);
    ok = health.ok;
  }
  until(to);
  return dark;
}

const SourceRestart* restart_of(const RunRecord& record, const Source& source, std::int64_t from,
                                std::int64_t to) {
  for (auto& restart : record.restarts)
    if (restart.source == source.first && restart.address == source.second && restart.t >= from &&
        restart.t <= to)
      return &restart;
  return nullptr;
}

std::string blind_source(const RunRecord& record, const Source& source, std::int64_t from, std::int64_t to) {
  const auto dark = dark_ns(record, source, from, to);
  const auto* last = last_health(record, source);
  if (dark > bearable_gap_ns || (dark > 0 && !last->ok)) {
    std::string error;
    for (auto& health : record.sources)
      if (health.source == source.first && health.address == source.second && !health.ok)
        error = health.error;
    return fmt::format("{} {} did not answer for {}{}", source.first, source.second,
                       text::seconds(static_cast<double>(dark) / 1e9), error.empty() ? "" : ": " + error);
  }
  if (!last->blind.empty())
    return fmt::format("{} {} could not have told: {}", source.first, source.second, last->blind);
  if (auto* restart = restart_of(record, source, from, to))
    return fmt::format("{} {} began anew at {}, and forgot what was pending or firing", source.first,
                       source.second, text::clock(record.wall_ns(restart->t)));
  return "";
}

}  // namespace

std::vector<std::string> blind_sources(const RunRecord& record) {
  std::vector<std::string> out;
  for (auto& source : sources(record))
    if (auto* last = last_health(record, source); last->ok && !last->blind.empty())
      out.push_back(fmt::format("alert source {} {} could not have told of any alert: {}", source.first,
                                source.second, last->blind));
  return out;
}

bool has_source(const RunRecord& record, const std::string& kind) {
  return std::any_of(record.sources.begin(), record.sources.end(),
                     [&](auto& health) { return health.source == kind; });
}

std::string blind(const RunRecord& record, const std::set<std::string>& kinds, std::int64_t from,
                  std::int64_t to) {
  std::string why;
  for (auto& source : sources(record)) {
    if (!kinds.contains(source.first)) continue;
    why = blind_source(record, source, from, to);
    if (why.empty()) return "";
  }
  return why.empty() ? "no alert source that could show it answered" : why;
}

std::string blind_to_firing(const RunRecord& record, std::int64_t from, std::int64_t to) {
  const bool asked = std::any_of(record.sources.begin(), record.sources.end(),
                                 [](auto& health) { return health.source != "webhook"; });
  return asked ? blind(record, {"prometheus", "alertmanager"}, from, to)
               : blind(record, {"webhook"}, from, to);
}

std::string forgotten(const RunRecord& record, const AlertStory& story, std::int64_t since) {
  std::string why;
  for (auto& source : sources(record)) {
    if (!story.fired_by.contains(source.first + " " + source.second)) continue;
    auto* restart = restart_of(record, source, since, record.last_t);
    if (!restart) return "";
    why = fmt::format("{} {} began anew at {}", source.first, source.second,
                      text::clock(record.wall_ns(restart->t)));
  }
  return why;
}

std::vector<std::string> disagreements(const RunRecord& record, const std::vector<AlertStory>& stories) {
  std::vector<std::string> out;
  for (auto& story : stories) {
    auto longest = std::find_if(story.episodes.begin(), story.episodes.end(), [&](auto& episode) {
      return episode.firing_t &&
             episode.resolved_t.value_or(record.last_t) - *episode.firing_t > sources_agree_within_ns;
    });
    if (longest == story.episodes.end() || story.fired_by.empty()) continue;
    const auto from = std::max<std::int64_t>(0, *longest->firing_t),
               to = longest->resolved_t.value_or(record.last_t);
    for (auto& source : sources(record)) {
      if (source.first == "webhook" || story.fired_by.contains(source.first + " " + source.second)) continue;
      // Two servers of one kind may have rules of their own.
      const bool by_its_kind = std::any_of(story.fired_by.begin(), story.fired_by.end(),
                                           [&](auto& by) { return by.starts_with(source.first + " "); });
      const auto* last = last_health(record, source);
      if (by_its_kind || dark_ns(record, source, from, to) > 0 || !last ||
          restart_of(record, source, from, to))
        continue;
      out.push_back(fmt::format(
          "alert {}{} was firing by {} for {}, while {} {} never had it", story.alert,
          text::labels(story.labels, "alertname"), text::join({story.fired_by.begin(), story.fired_by.end()}),
          text::seconds(static_cast<double>(to - from) / 1e9), source.first, source.second));
    }
  }
  return out;
}

}  // namespace squall
