// What became of each alert: the sightings of all sources, joined by fingerprint into one story, and how it answers what
// was expected.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
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

// How an expected alert, or one that nobody expected, turned out.
enum class AlertOutcome {
  caught,       // fired in time (and reached whom it should, and resolved in time, where that was asked)
  missing,      // did not fire
  late,         // fired after its deadline
  wrong_squad,  // fired, but others were notified, or nobody
  unresolved,   // fired in time, but did not resolve in time
  preexisting,  // was firing before the first fault: a finding, not a catch
  silenced,     // fired, but a silence kept it from everybody
  unexpected,   // fired though nobody expected it, where none was to
  other,        // fired though nobody expected it, where others may
  unseen        // its source could not be seen, or not for long enough
};
std::string_view to_string(AlertOutcome);

struct AlertVerdict {
  std::string alert;
  std::map<std::string, std::string> labels;
  bool expected = false;
  AlertOutcome outcome = AlertOutcome::missing;
  bool fired = false;                      // after the first fault began
  std::optional<double> pending_after_s, fired_after_s;  // after the first fault began
  std::optional<double> resolved_after_s;  // after the last fault's end; below 0 where it was earlier
  std::optional<double> notified_after_s;  // of the first notification, after the first fault began
  std::vector<std::string> reached;        // squads; receivers that belong to none by their own name
  std::string text;                        // the outcome in a sentence, with its numbers
  std::optional<std::size_t> story;        // in alert_stories
};

struct AlertScore {
  std::int64_t expected = 0, caught = 0, missed = 0, unexpected = 0;
  std::optional<double> precision;         // of the alerts that fired, the share that was expected
  std::optional<double> recall;            // of the alerts expected, the share that fired in time
  std::optional<double> mean_detection_s;  // of the expected ones that fired, late ones too
};

// Expected alerts in the order of the scenario, then those that fired unasked.
std::vector<AlertVerdict> judge_alerts(const RunRecord&, const std::vector<AlertStory>&);
AlertScore score(const std::vector<AlertVerdict>&);

}  // namespace squall
