#include "reports/alert_story.hpp"

#include <algorithm>
#include <set>

namespace squall {
namespace {

bool word_character(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// `word` stands in `text` with nothing of a word on either side.
bool contains_word(const std::string& text, const std::string& word) {
  if (word.empty()) return false;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || !word_character(text[at - 1])) && (end == text.size() || !word_character(text[end]))) return true;
  }
  return false;
}

void earliest(std::optional<std::int64_t>& time, std::int64_t t) { time = std::min(time.value_or(t), t); }

// The episode that something which began at `t` belongs to: the last one, unless that had ended before.
AlertEpisode& episode_at(AlertStory& story, std::int64_t t) {
  if (story.episodes.empty() || (story.episodes.back().resolved_t && *story.episodes.back().resolved_t < t)) story.episodes.emplace_back();
  return story.episodes.back();
}

void tell(AlertStory& story, const AlertSighting& sighting, const std::vector<std::string>& squads) {
  auto& event = sighting.event;
  const auto t = sighting.t;
  story.preexisting = story.preexisting || event.preexisting;
  switch (event.state) {
    case AlertState::pending: earliest(episode_at(story, t).pending_t, t); break;
    case AlertState::firing: earliest(episode_at(story, t).firing_t, t); break;
    case AlertState::resolved: {
      if (story.episodes.empty()) break;
      auto& episode = story.episodes.back();
      const auto began = episode.firing_t ? episode.firing_t : episode.pending_t;
      if (!began || t >= *began) earliest(episode.resolved_t, t);
      break;
    }
    case AlertState::silenced: story.silenced_t.push_back(t); break;
    case AlertState::notified:
      story.notifications.push_back({sighting.seen_t, event.receiver, squad_of(event.receiver, event.labels, squads), false});
      if (auto& episode = episode_at(story, t); !episode.firing_t) episode.firing_t = t;
      break;
    case AlertState::notified_resolved:
      story.notifications.push_back({sighting.seen_t, event.receiver, squad_of(event.receiver, event.labels, squads), true});
      if (!story.episodes.empty() && !story.episodes.back().resolved_t)
        story.episodes.back().resolved_t = std::max(t, story.episodes.back().firing_t.value_or(t));
      break;
  }
}

}  // namespace

std::string squad_of(const std::string& receiver, const std::map<std::string, std::string>& labels,
                     const std::vector<std::string>& squads) {
  std::string best;
  for (auto& squad : squads)
    if (squad.size() > best.size() && contains_word(receiver, squad)) best = squad;
  if (!best.empty()) return best;
  auto label = labels.find("squad");
  return label == labels.end() ? "" : label->second;
}

std::vector<std::string> known_squads(const RunRecord& record) {
  std::set<std::string> out;
  for (auto& [name, squad] : record.scenario.landscape.squads) out.insert(name);
  for (auto& [name, service] : record.scenario.landscape.services) out.insert(service.squad);
  for (auto& expectation : record.scenario.expect)
    if (expectation.reaches) out.insert(*expectation.reaches);
  out.insert(record.squad);
  out.erase("");
  return {out.begin(), out.end()};
}

std::vector<AlertStory> alert_stories(const RunRecord& record) {
  const auto squads = known_squads(record);
  std::vector<AlertStory> out;
  for (auto& sighting : record.alerts) {
    auto& event = sighting.event;
    auto same = [&](const AlertStory& story) {
      return !event.fingerprint.empty() && !story.fingerprint.empty() ? story.fingerprint == event.fingerprint
                                                                      : story.alert == event.alert && story.labels == event.labels;
    };
    auto found = std::find_if(out.begin(), out.end(), same);
    if (found == out.end()) {
      auto& fresh = out.emplace_back();
      fresh.alert = event.alert;
      fresh.fingerprint = event.fingerprint;
      fresh.labels = event.labels;
      found = std::prev(out.end());
    }
    tell(*found, sighting, squads);
  }
  return out;
}

}  // namespace squall
