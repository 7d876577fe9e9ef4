// Our own receiver of Alertmanager's notifications: what really reached the pager, and when.
#include <set>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "controller/alerts/parse.hpp"
#include "controller/alerts/source.hpp"
#include "controller/http/server.hpp"
#include "controller/record/run_log.hpp"

namespace squall {
namespace {

class Webhook : public AlertSource {
 public:
  Webhook(boost::asio::io_context& io, const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks)
      : io_(io),
        address_(spec.address),
        sinks_(sinks),
        start_(wall_clock_ns()),
        server_(io, spec.address, [this](const http::ServerRequest& request) { return receive(request); }) {}

  void run(std::function<void()> ready) override {
    health("");
    boost::asio::post(io_, std::move(ready));
  }
  void finish(std::function<void()> done) override { boost::asio::post(io_, std::move(done)); }

 private:
  http::ServerAnswer receive(const http::ServerRequest& request) {
    if (request.method != "POST") return {405, "expected a POST by Alertmanager's webhook\n"};
    auto notification = parse_notification(request.body);
    if (!notification) {
      health(
          fmt::format("a notification from {} could not be read: {}", request.remote, notification.error()));
      return {400, notification.error() + "\n"};
    }
    posted_ = true;
    health("");
    if (notification->truncated && sinks_.note)
      sinks_.note(
          "alert.cut",
          {{"address", address_}, {"receiver", notification->receiver}, {"count", notification->truncated}});
    for (auto& alert : notification->alerts)
      tell(notification->receiver, alert);
    return {200, ""};
  }

  // A group is sent again whenever one of its alerts changes; each alert's own news is told once.
  void tell(const std::string& receiver, const Notification::Alert& alert) {
    const auto since = alert.firing ? alert.starts_at : alert.ends_at;
    if (!told_.insert({receiver, alert.fingerprint, alert.firing, alert.starts_at}).second) return;
    AlertEvent event;
    event.source = "webhook";
    event.address = address_;
    event.state = alert.firing ? AlertState::notified : AlertState::notified_resolved;
    event.labels = alert.labels;
    if (auto name = event.labels.find("alertname"); name != event.labels.end()) event.alert = name->second;
    event.fingerprint = alert.fingerprint;
    event.since_ns = since;
    event.seen_ns = wall_clock_ns();
    event.receiver = receiver;
    event.preexisting = alert.starts_at < start_;
    sinks_.event(event);
  }

  void health(const std::string& error) {
    const std::string blind = posted_ ? "" : "nothing was ever posted to it";
    if (told_health_ && error == last_error_ && blind == last_blind_) return;
    told_health_ = true;
    last_error_ = error;
    last_blind_ = blind;
    if (sinks_.health) sinks_.health({"webhook", address_, error.empty(), error, blind});
  }

  boost::asio::io_context& io_;
  std::string address_, last_error_, last_blind_;
  const AlertWatch::Sinks& sinks_;
  std::int64_t start_;
  std::set<std::tuple<std::string, std::string, bool, std::int64_t>> told_;
  bool told_health_ = false, posted_ = false;
  http::Server server_;
};

}  // namespace

std::unique_ptr<AlertSource> make_webhook(boost::asio::io_context& io, const AlertSourceSpec& spec,
                                          const AlertWatch::Sinks& sinks) {
  return std::make_unique<Webhook>(io, spec, sinks);
}

}  // namespace squall
