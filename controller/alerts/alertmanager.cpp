// Alertmanager: what it holds as firing, what is suppressed and by what, and where it sends each alert.
// Whether that was delivered only a webhook sees.
#include <fmt/format.h>

#include "controller/alerts/parse.hpp"
#include "controller/alerts/poller.hpp"
#include "controller/alerts/routing.hpp"
#include "controller/record/run_log.hpp"

namespace squall {
namespace {

// Prometheus sends what fires again every minute by default (--rules.alert.resend-delay); an Alertmanager
// that was restarted knows nothing until then.
constexpr std::int64_t told_again_ns = 75'000'000'000;

class Alertmanager : public Poller {
 public:
  Alertmanager(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec,
               const AlertWatch::Sinks& sinks)
      : Poller(io, client, spec, sinks, "alertmanager") {}

 private:
  void look() override {
    // The status last: where it is that of the process before, so is the list.
    std::vector<std::string> paths{
        "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=false", "?/api/v2/status"};
    if (!was_told_) paths.emplace_back("?/metrics");
    ask(std::move(paths), [this](const std::vector<std::string>& bodies) {
      auto alerts = parse_managed_alerts(bodies[0]);
      if (!alerts) return alerts.error();
      if (auto status = parse_manager_status(bodies[1])) note_status(*status);
      if (bodies.size() > 2) note_metrics(bodies[2]);
      was_told_ = was_told_ || !alerts->empty();
      blind(was_told_ ? "" : "no alert was ever sent to it");
      no_clock("its answers have no header Date");
      take(*alerts);
      return std::string();
    });
  }

  void note_status(const ManagerStatus& status) {
    if (started_at_ && status.started_at != started_at_) {
      forgetful_until_ = monotonic_clock_ns() + told_again_ns;
      restarted();
    }
    started_at_ = status.started_at;
    if (status.config == config_) return;
    config_ = status.config;
    auto read = Routing::read(config_);
    routing_ = read ? std::optional{std::move(*read)} : std::nullopt;
    if (routing_ && sinks().routing) sinks().routing(*routing_);
  }

  // Where its metrics are closed, nobody knows: then it is not said that it was told nothing.
  void note_metrics(const std::string& metrics) {
    const auto received = metric_sum(metrics, "alertmanager_alerts_received_total");
    was_told_ = !received || *received > 0;
  }

  void take(const std::vector<ManagedAlert>& alerts) {
    std::map<std::string, ManagedAlert> seen;
    for (auto& alert : alerts) {
      seen[alert.fingerprint] = alert;
      auto before = known_.find(alert.fingerprint);
      const bool fresh = before == known_.end();
      if (fresh) tell(event_of(alert.labels, alert.fingerprint, AlertState::firing, alert.starts_at));
      if (fresh || before->second.receivers != alert.receivers) routed(alert);
      if (alert.suppressed && (fresh || !before->second.suppressed)) suppressed(alert, seen);
      if (!fresh && !alert.suppressed && before->second.suppressed)
        tell(event_of(alert.labels, alert.fingerprint, AlertState::firing, alert.starts_at));
    }
    const bool forgetful = monotonic_clock_ns() < forgetful_until_;
    for (auto& [print, alert] : known_) {
      if (seen.contains(print)) continue;
      if (forgetful)
        seen[print] = alert;
      else
        tell(event_of(alert.labels, print, AlertState::resolved, 0));
    }
    known_ = std::move(seen);
    first_ = false;
  }

  std::string name_of(const std::string& print, const std::map<std::string, ManagedAlert>& others) const {
    for (auto* list : {&others, &known_})
      if (auto found = list->find(print); found != list->end())
        if (auto name = found->second.labels.find("alertname"); name != found->second.labels.end())
          return name->second;
    return "";
  }

  void suppressed(const ManagedAlert& alert, const std::map<std::string, ManagedAlert>& others) {
    auto event = event_of(alert.labels, alert.fingerprint, AlertState::silenced, 0);
    event.by = "a silence";
    if (alert.silenced_by.empty() && !alert.inhibited_by.empty()) {
      const auto name = name_of(alert.inhibited_by.front(), others);
      event.by =
          name.empty() ? "another alert inhibited it" : fmt::format("another alert ({}) inhibited it", name);
    } else if (alert.silenced_by.empty() && !alert.muted_by.empty()) {
      event.by = fmt::format("by the time interval {}", alert.muted_by.front());
    }
    tell(std::move(event));
  }

  void routed(const ManagedAlert& alert) {
    const auto matches =
        routing_ ? routing_->match(alert.labels, wall_clock_ns()) : std::vector<Routing::Match>{};
    for (auto& receiver : alert.receivers) {
      auto event = event_of(alert.labels, alert.fingerprint, AlertState::routed, 0);
      event.receiver = receiver;
      for (auto& match : matches)
        if (match.receiver == receiver) event.route = match.route;
      tell(std::move(event));
    }
  }

  void tell(AlertEvent event) {
    event.preexisting = first_;
    sinks().event(event);
  }

  std::map<std::string, ManagedAlert> known_;
  std::optional<Routing> routing_;
  std::string config_;
  std::int64_t started_at_ = 0, forgetful_until_ = 0;
  bool first_ = true, was_told_ = false;
};

}  // namespace

std::unique_ptr<AlertSource> make_alertmanager(boost::asio::io_context& io, http::Client& client,
                                               const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks) {
  return std::make_unique<Alertmanager>(io, client, spec, sinks);
}

}  // namespace squall
