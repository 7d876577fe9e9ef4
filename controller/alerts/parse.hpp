// What the alert sources say, from their JSON to plain structs. Pure: nonsense gives an error text, never a
// throw.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "controller/alerts/watch.hpp"

namespace squall {

// RFC 3339 with up to nanoseconds, as Go prints it, to CLOCK_REALTIME ns; nothing where it is no time.
std::optional<std::int64_t> parse_rfc3339(std::string_view);

using Labels = std::map<std::string, std::string>;

// Prometheus: one series of ALERTS[…]: the state and the raw evaluation stamps (ns) at which it held.
struct AlertSeries {
  Labels labels;  // without __name__ and alertstate
  bool firing = false;
  std::vector<std::int64_t> stamps;
};
tl::expected<std::vector<AlertSeries>, std::string> parse_alert_series(std::string_view json);
// Prometheus: /api/v1/alerts: what is pending or firing now.
struct ActiveAlert {
  Labels labels;
  std::int64_t active_at = 0;  // when it became pending, by the rule's evaluations
};
tl::expected<std::vector<ActiveAlert>, std::string> parse_active_alerts(std::string_view json);
// Prometheus: /api/v1/query?query=time(): its clock, to the millisecond.
tl::expected<std::int64_t, std::string> parse_time(std::string_view json);
// Prometheus: /api/v1/status/runtimeinfo: when its process began; Alertmanager: the same of /api/v2/status.
tl::expected<std::int64_t, std::string> parse_runtimeinfo(std::string_view json);
struct ManagerStatus {
  std::int64_t started_at = 0;
  std::string config;  // the YAML that it was configured with
};
tl::expected<ManagerStatus, std::string> parse_manager_status(std::string_view json);
// The sum of all series of one metric in the text format; nothing where there is none.
std::optional<double> metric_sum(std::string_view exposition, std::string_view name);
// Prometheus: /api/v1/rules?type=alert.
tl::expected<std::vector<AlertRule>, std::string> parse_rules(std::string_view json);

// Alertmanager: one alert of /api/v2/alerts.
struct ManagedAlert {
  Labels labels;
  std::string fingerprint;
  std::int64_t starts_at = 0;
  bool suppressed = false;
  std::vector<std::string> silenced_by, inhibited_by,
      muted_by;  // ids of silences, fingerprints, names of time intervals
  std::vector<std::string> receivers;
};
tl::expected<std::vector<ManagedAlert>, std::string> parse_managed_alerts(std::string_view json);

// A notification by Alertmanager's webhook (version "4").
struct Notification {
  std::string receiver;
  struct Alert {
    Labels labels;
    std::string fingerprint;
    bool firing = false;
    std::int64_t starts_at = 0, ends_at = 0;
  };
  std::vector<Alert> alerts;
  std::int64_t truncated = 0;  // alerts that the receiver's max_alerts left out
};
tl::expected<Notification, std::string> parse_notification(std::string_view json);

}  // namespace squall
