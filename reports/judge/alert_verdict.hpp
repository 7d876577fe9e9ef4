// How each alert answered what was expected of it, and the score of all of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/judge/alert_story.hpp"

namespace squall {

// How an expected alert, or one that nobody expected, turned out.
enum class AlertOutcome {
  caught,       // fired in time (and reached whom it should, and resolved in time, where that was asked)
  missing,      // did not fire
  late,         // fired after its deadline
  wrong_squad,  // fired, but others were notified, or nobody
  unresolved,   // fired in time, but did not resolve in time
  preexisting,  // was pending or firing before the first fault: a finding, not a catch
  silenced,     // fired, but a silence kept it from everybody
  inhibited,    // fired, but another alert inhibited it
  unexpected,   // fired though nobody expected it, where none was to
  other,        // fired though nobody expected it, where others may
  unseen        // its source could not be seen, or not for long enough, or not so well as to decide
};
std::string_view to_string(AlertOutcome);

struct AlertVerdict {
  std::string alert;
  std::map<std::string, std::string> labels;
  bool expected = false;
  AlertOutcome outcome = AlertOutcome::missing;
  bool fired = false;    // after the first fault began
  bool in_time = false;  // within its deadline, and whom it should reach was notified
  std::optional<double> pending_after_s, fired_after_s;  // after the first fault began
  std::optional<double> resolved_after_s;  // after the last fault's end; below 0 where it was earlier
  std::optional<double> notified_after_s;  // of the first notification, after the first fault began
  std::vector<std::string> reached;        // squads; receivers that belong to none by their own name
  std::string text;                        // the outcome in a sentence, with its numbers
  std::optional<std::size_t> story;        // its place in the stories
};

// How well the alerting answered. Caught: in time, to whom it should; late, misrouted and silenced ones are
// missed; those that could not be seen are neither. Unexpected are counted by name, since one cause may raise
// an alert in many places.
struct AlertScore {
  std::int64_t expected = 0, caught = 0, missed = 0, unexpected = 0;
  std::optional<double> precision;  // of those that fired after the fault began, the share that was expected
  std::optional<double> recall;     // caught of caught and missed
  std::optional<double> mean_detection_s;  // of the expected ones that fired, late ones too
};

// Expected alerts in the order of the scenario, then those that fired unasked.
std::vector<AlertVerdict> judge_alerts(const RunRecord&, const std::vector<AlertStory>&);
// Why an alert that fired unasked could have been missed, or "": the sources answered all along.
std::string cannot_see_alerts(const RunRecord&);
AlertScore score(const std::vector<AlertVerdict>&);

}  // namespace squall
