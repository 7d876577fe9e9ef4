// Whom an alert that fired reached, and where it reached nobody, what kept it: a squad is at fault only where
// nothing else is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/judge/alert_verdict.hpp"

namespace squall {

struct Undelivered {
  AlertOutcome outcome = AlertOutcome::unseen;
  std::string text;  // goes on after "fired 5.0 s after the first fault"
};

// How long an alert that fired was there to be told of.
struct FiredSpan {
  const AlertStory* story = nullptr;
  std::int64_t from_t = 0, to_t = 0;
};

// Alertmanager's own word on where it sends these alerts: weaker than a notification, since it says nothing
// of delivery.
std::vector<std::string> routed_to(const std::vector<FiredSpan>&);
// What kept them from `squad`, none of them having been notified; nothing where all that is known says that
// they should have been.
std::optional<Undelivered> kept_from(const std::string& squad, const RunRecord&,
                                     const std::vector<AlertStory>& all, const std::vector<FiredSpan>&);

}  // namespace squall
