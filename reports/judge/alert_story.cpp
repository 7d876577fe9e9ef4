#include "reports/judge/alert_story.hpp"

#include <algorithm>
#include <set>

namespace squall {
namespace {

// Keeps what is known best: the narrower of two, else the earlier.
void better(std::optional<std::int64_t>& time, Instant& kept, const Instant& when) {
  const bool narrower =
      (when.known && !kept.known) || (when.known == kept.known && when.error_ns() < kept.error_ns());
  const bool alike = when.known == kept.known && when.error_ns() == kept.error_ns();
  if (time && !narrower && !(alike && when.t < *time)) return;
  time = when.t;
  kept = when;
}

// The episode that something which began at `t` belongs to: the last one, unless that had ended before.
AlertEpisode& episode_at(AlertStory& story, std::int64_t t) {
  if (story.episodes.empty() || (story.episodes.back().resolved_t && *story.episodes.back().resolved_t < t))
    story.episodes.emplace_back();
  return story.episodes.back();
}

class Teller {
 public:
  explicit Teller(const RunRecord& record)
      : squads_(known_squads(record.scenario)), declared_(record.scenario.landscape.squads) {}

  void tell(AlertStory& story, const AlertSighting& sighting) const {
    auto& event = sighting.event;
    auto& when = sighting.when;
    story.preexisting = story.preexisting || event.preexisting;
    switch (event.state) {
      case AlertState::pending: {
        auto& episode = episode_at(story, when.t);
        better(episode.pending_t, episode.pending, when);
        break;
      }
      case AlertState::firing: {
        auto& episode = episode_at(story, when.t);
        better(episode.firing_t, episode.firing, when);
        story.fired_by.insert(event.source + " " + event.address);
        break;
      }
      case AlertState::resolved:
        resolved(story, when);
        break;
      case AlertState::silenced:
        story.silenced.push_back({sighting.seen_t, event.by.empty() ? "a silence" : event.by});
        break;
      case AlertState::routed:
        story.routed.push_back({sighting.seen_t, event.receiver, squad(event), event.route});
        break;
      case AlertState::notified:
        story.notifications.push_back({sighting.seen_t, event.receiver, squad(event), false});
        if (auto& episode = episode_at(story, when.t); !episode.firing_t)
          better(episode.firing_t, episode.firing, when);
        break;
      case AlertState::notified_resolved:
        story.notifications.push_back({sighting.seen_t, event.receiver, squad(event), true});
        if (story.episodes.empty() || story.episodes.back().resolved_t) break;
        auto& last = story.episodes.back();
        better(last.resolved_t, last.resolved, when.t < last.firing_t.value_or(when.t) ? last.firing : when);
        break;
    }
  }

 private:
  std::string squad(const AlertEvent& event) const {
    return squad_of(event.receiver, event.labels, squads_, declared_);
  }

  static void resolved(AlertStory& story, const Instant& when) {
    if (story.episodes.empty()) return;
    auto& episode = story.episodes.back();
    const auto began = episode.firing_t ? episode.firing_t : episode.pending_t;
    if (!began || when.late_t >= *began) better(episode.resolved_t, episode.resolved, when);
  }

  std::vector<std::string> squads_;
  const std::map<std::string, SquadSpec>& declared_;
};

// The sightings of one set of labels.
struct Raw {
  std::vector<const AlertSighting*> sightings;
  bool by_prometheus = false;
  const AlertEvent& event() const { return sightings.front()->event; }
  const AlertSighting* firing() const {
    for (auto* sighting : sightings)
      if (sighting->event.state == AlertState::firing ||
          (sighting->event.state == AlertState::notified && !by_prometheus))
        return sighting;
    return nullptr;
  }
};

std::vector<Raw> by_labels(const RunRecord& record) {
  std::vector<Raw> out;
  for (auto& sighting : record.alerts) {
    auto& event = sighting.event;
    auto same = [&](const Raw& raw) {
      auto& other = raw.event();
      return !event.fingerprint.empty() && !other.fingerprint.empty()
                 ? other.fingerprint == event.fingerprint
                 : other.alert == event.alert && other.labels == event.labels;
    };
    auto found = std::find_if(out.begin(), out.end(), same);
    if (found == out.end()) found = out.insert(out.end(), Raw{});
    found->sightings.push_back(&sighting);
    found->by_prometheus = found->by_prometheus || event.source == "prometheus";
  }
  return out;
}

std::size_t values_in_common(const AlertEvent& a, const AlertEvent& b) {
  auto has = [&](const std::string& value) {
    return std::any_of(a.labels.begin(), a.labels.end(), [&](auto& label) { return label.second == value; });
  };
  return static_cast<std::size_t>(
      std::count_if(b.labels.begin(), b.labels.end(), [&](auto& label) { return has(label.second); }));
}

// Prometheus tells Alertmanager when an alert began to fire by the stamp of that evaluation: the same name
// and the same stamp are the same alert, under whatever labels (external_labels, alert_relabel_configs).
bool may_be_one(const Raw& rule, const Raw& there) {
  constexpr std::int64_t stamp_resolution_ns = 2'000'000;
  const auto *a = rule.firing(), *b = there.firing();
  if (!a || !b || rule.event().alert != there.event().alert) return false;
  if (a->event.preexisting && b->event.since_ns <= a->event.since_ns)
    return true;  // an older one's first stamp was not looked up
  const auto apart = a->event.since_ns - b->event.since_ns;
  return apart <= stamp_resolution_ns && -apart <= stamp_resolution_ns;
}

// Joins what only Alertmanager and its receivers know to what Prometheus calls by other labels.
void join_renamed(std::vector<Raw>& raws) {
  std::vector<Raw> out;
  std::set<std::size_t> taken;
  for (auto& raw : raws)
    if (raw.by_prometheus) out.push_back(raw);
  const auto rules = out.size();
  // Those that Alertmanager has under the rule's own labels are whole already.
  std::set<std::size_t> whole;
  for (std::size_t i = 0; i < rules; ++i)
    if (std::any_of(out[i].sightings.begin(), out[i].sightings.end(),
                    [](auto* s) { return s->event.source != "prometheus"; }))
      whole.insert(i);
  for (auto& raw : raws) {
    if (raw.by_prometheus) continue;
    std::optional<std::size_t> best;
    std::size_t most = 0;
    for (std::size_t i = 0; i < rules; ++i) {
      if (taken.contains(i) || whole.contains(i) || !may_be_one(out[i], raw)) continue;
      const auto common = values_in_common(out[i].event(), raw.event());
      if (!best || common > most) best = i, most = common;
    }
    if (!best) {
      out.push_back(raw);
      continue;
    }
    taken.insert(*best);
    out[*best].sightings.insert(out[*best].sightings.end(), raw.sightings.begin(), raw.sightings.end());
  }
  for (auto& raw : out)
    std::stable_sort(raw.sightings.begin(), raw.sightings.end(),
                     [](auto* a, auto* b) { return a->seen_t < b->seen_t; });
  raws = std::move(out);
}

}  // namespace

std::vector<std::string> known_squads(const Scenario& scenario) {
  std::set<std::string> out;
  for (auto& [name, squad] : scenario.landscape.squads)
    out.insert(name);
  for (auto& [name, service] : scenario.landscape.services)
    out.insert(service.squad);
  for (auto& expectation : scenario.expect)
    if (expectation.reaches) out.insert(*expectation.reaches);
  out.insert(scenario.squad);
  out.erase("");
  return {out.begin(), out.end()};
}

std::vector<AlertStory> alert_stories(const RunRecord& record) {
  auto raws = by_labels(record);
  if (std::any_of(raws.begin(), raws.end(), [](auto& raw) { return raw.by_prometheus; })) join_renamed(raws);
  const Teller teller{record};
  std::vector<AlertStory> out;
  for (auto& raw : raws) {
    auto& story = out.emplace_back();
    auto rule = std::find_if(raw.sightings.begin(), raw.sightings.end(),
                             [&](auto* s) { return !raw.by_prometheus || s->event.source == "prometheus"; });
    story.alert = (*rule)->event.alert, story.fingerprint = (*rule)->event.fingerprint,
    story.labels = (*rule)->event.labels;
    for (auto* sighting : raw.sightings) {
      if (sighting->event.source != "prometheus" && sighting->event.labels != story.labels)
        story.labels_there = sighting->event.labels;
      teller.tell(story, *sighting);
    }
  }
  return out;
}

}  // namespace squall
