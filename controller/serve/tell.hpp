// What there is and what happened, as JSON and as figures for Prometheus.
#pragma once

#include <string>

#include <boost/json.hpp>

#include "controller/serve/store/store.hpp"

namespace squall::serve {

class Daemon;

boost::json::object tell_run(const StoredRun&);
boost::json::object tell_drills(Daemon&);
boost::json::array tell_runs(Daemon&);
boost::json::array tell_schedules(Daemon&);
boost::json::array tell_occurrences(Daemon&);
boost::json::object tell_scorecard(Daemon&);
boost::json::array tell_followups(Daemon&);
boost::json::array tell_gamedays(Daemon&);
boost::json::array tell_audit(Daemon&);
std::string metrics(Daemon&);
// "2026-11-23T08:51:42Z"; "" of 0.
std::string moment(std::int64_t seconds);

// A score of 0 to 100 over drills, none where no drill of them has a result that counts.
struct Score {
  int passed = 0, failed = 0;
  int uncounted = 0;  // drills whose runs were inconclusive, halted or not run, or whose result has expired
  int never = 0;      // drilled
  std::optional<int> of_100() const;
};
// Of the drills that touch each service; by the last result of each that is a pass or a failure.
std::map<std::string, Score> scores(Daemon&);

}  // namespace squall::serve
