// Alertmanager: what it holds as firing, and what is silenced. Whom it told is seen by the webhook.
#include <fmt/format.h>

#include "controller/alerts/parse.hpp"
#include "controller/alerts/poller.hpp"
#include "controller/engine/run_log.hpp"

namespace squall {
namespace {

class Alertmanager : public Poller {
 public:
  Alertmanager(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks)
      : Poller(io, client, spec, sinks, "alertmanager") {}

 private:
  void look() override {
    ask({"/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=false"}, [this](const std::vector<std::string>& bodies) {
      auto alerts = parse_managed_alerts(bodies[0]);
      if (!alerts) return alerts.error();
      take(*alerts);
      return std::string();
    });
  }

  void take(const std::vector<ManagedAlert>& alerts) {
    const auto now = wall_clock_ns();
    std::map<std::string, ManagedAlert> seen;
    for (auto& alert : alerts) {
      seen[alert.fingerprint] = alert;
      auto before = known_.find(alert.fingerprint);
      if (before == known_.end()) {
        tell(alert, AlertState::firing, alert.starts_at);
        if (alert.suppressed) tell(alert, AlertState::silenced, now);
      } else if (alert.suppressed && !before->second.suppressed) {
        tell(alert, AlertState::silenced, now);
      } else if (!alert.suppressed && before->second.suppressed) {
        tell(alert, AlertState::firing, now);
      }
    }
    for (auto& [print, alert] : known_)
      if (!seen.contains(print)) tell(alert, AlertState::resolved, now);
    known_ = std::move(seen);
    first_ = false;
  }

  void tell(const ManagedAlert& alert, AlertState state, std::int64_t since) {
    AlertEvent event;
    event.source = name();
    event.state = state;
    event.labels = alert.labels;
    if (auto name_label = event.labels.find("alertname"); name_label != event.labels.end()) event.alert = name_label->second;
    event.fingerprint = alert.fingerprint;
    event.since_ns = since;
    event.seen_ns = wall_clock_ns();
    event.preexisting = first_;
    sinks().event(event);
  }

  std::map<std::string, ManagedAlert> known_;
  bool first_ = true;
};

}  // namespace

std::unique_ptr<AlertSource> make_alertmanager(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec,
                                               const AlertWatch::Sinks& sinks) {
  return std::make_unique<Alertmanager>(io, client, spec, sinks);
}

}  // namespace squall
