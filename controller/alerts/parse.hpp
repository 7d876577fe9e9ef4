// What the alert sources say, from their JSON to plain structs. Pure: nonsense gives an error text, never a throw.
#pragma once

#include <cstdint>
#include <map>
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
// Prometheus: /api/v1/alerts: the labels of what is pending or firing now.
tl::expected<std::vector<Labels>, std::string> parse_active_alerts(std::string_view json);
// Prometheus: /api/v1/rules?type=alert.
tl::expected<std::vector<AlertRule>, std::string> parse_rules(std::string_view json);

// Alertmanager: one alert of /api/v2/alerts.
struct ManagedAlert {
  Labels labels;
  std::string fingerprint;
  std::int64_t starts_at = 0;
  bool suppressed = false;
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
};
tl::expected<Notification, std::string> parse_notification(std::string_view json);

}  // namespace squall
