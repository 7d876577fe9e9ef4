// What became of each alert: the sightings of all sources, joined by fingerprint into one story.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reports/record/record.hpp"

namespace squall {

// One time that an alert was active. Each time is that of the source that knows it best, else the earliest
// that any tells; the instants beside them say between what they surely lie.
struct AlertEpisode {
  std::optional<std::int64_t> pending_t, firing_t, resolved_t;
  Instant pending, firing, resolved;
};

struct AlertNotification {
  std::int64_t t = 0;
  std::string receiver;
  std::string squad;  // whom that is; "" where nobody can tell
  bool resolved = false;
};

// Where Alertmanager has it for, and since when.
struct AlertRouted {
  std::int64_t t = 0;
  std::string receiver, squad;
  std::optional<AlertRoute> route;
};

struct AlertSuppressed {
  std::int64_t t = 0;
  std::string by;  // "a silence"
};

// One alert, that is one set of labels, over the whole run. Where relabelling changes labels on the way to
// Alertmanager, it is one all the same: `labels` are the rule's, `labels_there` those that it has there.
struct AlertStory {
  std::string alert, fingerprint;
  std::map<std::string, std::string> labels, labels_there;
  bool preexisting = false;        // it was pending or firing when the sources were first asked
  std::set<std::string> fired_by;  // the sources that had it firing: "prometheus http://…"
  std::vector<AlertSuppressed> silenced;
  std::vector<AlertRouted> routed;
  std::vector<AlertEpisode> episodes;
  std::vector<AlertNotification> notifications;
};

// Whom a notification reached: the squad that declares this receiver, else the one whose name it is, as such
// or with words that only say how ("storage-pager", "page/storage"; of several the longest).
// "blackhole-not-db" is nobody's. A receiver whose name speaks of nobody, such as one webhook for all, leaves
// it to the alert's own label "squad".
std::string squad_of(const std::string& receiver, const std::map<std::string, std::string>& labels,
                     const std::vector<std::string>& squads,
                     const std::map<std::string, SquadSpec>& declared = {});

std::vector<std::string> known_squads(const Scenario&);
std::vector<AlertStory> alert_stories(const RunRecord&);

}  // namespace squall
