// What became of each alert: the sightings of all sources, joined by fingerprint into one story.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/record.hpp"

namespace squall {

// One time that an alert was active. Each time is the earliest that any source tells.
struct AlertEpisode {
  std::optional<std::int64_t> pending_t, firing_t, resolved_t;
};

struct AlertNotification {
  std::int64_t t = 0;
  std::string receiver;
  std::string squad;  // whom that is; "" where nobody can tell
  bool resolved = false;
};

// One alert, that is one set of labels, over the whole run.
struct AlertStory {
  std::string alert, fingerprint;
  std::map<std::string, std::string> labels;
  bool preexisting = false;  // it was pending or firing when the sources were first asked
  std::vector<std::int64_t> silenced_t;
  std::vector<AlertEpisode> episodes;
  std::vector<AlertNotification> notifications;
};

// Whom a notification reached. A receiver belongs to the squad that its name is, or contains as a whole word (so
// "storage", "storage-pager" and "page/storage" all are storage's; of several the longest). A receiver that names no
// known squad, such as one webhook for everybody, leaves it to the alert's own label "squad".
std::string squad_of(const std::string& receiver, const std::map<std::string, std::string>& labels,
                     const std::vector<std::string>& squads);

std::vector<std::string> known_squads(const RunRecord&);
std::vector<AlertStory> alert_stories(const RunRecord&);

}  // namespace squall
