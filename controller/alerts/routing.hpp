// Alertmanager's configuration, as far as it decides who is told of an alert, and when: the tree of routes,
// what their groups wait for, and the time intervals that mute them. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "reports/record/record.hpp"
#include "scenarios/text/document.hpp"

namespace squall {

class Routing {
 public:
  // `yaml` as /api/v2/status tells it. An error text where it is no configuration.
  static tl::expected<Routing, std::string> read(std::string_view yaml);

  struct Match {
    std::string receiver;
    AlertRoute route;
  };
  // Every route that takes an alert of these labels, at that time (CLOCK_REALTIME). Empty where a matcher
  // cannot be understood.
  std::vector<Match> match(const std::map<std::string, std::string>& labels, std::int64_t wall_ns) const;

 private:
  Value root_;
};

// "1h30m", "20s", "500ms" as Prometheus writes them, in ns; 0 where it is none.
std::int64_t prometheus_duration_ns(std::string_view);
// Whether a time interval of the configuration (one of its list "time_intervals") holds then; a location
// other than UTC and what is not understood count as holding.
bool interval_holds(const Value& interval, std::int64_t wall_ns);

}  // namespace squall
