// Prometheus: the exact times of every transition, from the raw evaluation stamps of ALERTS over a range; the API's list
// of alerts forgets a resolved one at once and knows no times but activeAt.
#include "controller/alerts/fingerprint.hpp"
#include "controller/alerts/parse.hpp"
#include "controller/alerts/poller.hpp"
#include "controller/engine/run_log.hpp"

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::int64_t default_interval_ns = 60'000'000'000;

class Prometheus : public Poller {
 public:
  Prometheus(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks)
      : Poller(io, client, spec, sinks, "prometheus") {}

 private:
  struct Known {
    Labels labels;
    AlertState state = AlertState::resolved;
    std::int64_t last_stamp = 0;
  };

  void look() override {
    const auto now = wall_clock_ns();
    // Back to the last good look and a little further, so that an outage of the source hides no transition.
    const auto back = last_good_ ? (now - last_good_) / 1'000'000'000 + 10 : 10;
    std::vector<std::string> paths{fmt::format("/api/v1/query?query=ALERTS%5B{}s%5D", back), "/api/v1/alerts"};
    if (!rules_known_) paths.push_back("/api/v1/rules?type=alert");
    ask(std::move(paths), [this, now](const std::vector<std::string>& bodies) { return take(now, bodies); });
  }

  std::string take(std::int64_t now, const std::vector<std::string>& bodies) {
    if (bodies.size() > 2) {
      auto rules = parse_rules(bodies[2]);
      if (!rules) return rules.error();
      for (auto& rule : *rules) {
        intervals_[rule.alert] = rule.interval_ns;
        if (sinks().rule) sinks().rule(rule);
      }
      rules_known_ = true;
    }
    auto series = parse_alert_series(bodies[0]);
    if (!series) return series.error();
    auto active = parse_active_alerts(bodies[1]);
    if (!active) return active.error();
    std::map<std::string, std::map<std::int64_t, bool>> stamps;  // fingerprint → stamp → firing
    for (auto& one : *series) {
      const auto print = fingerprint(one.labels);
      known_[print].labels = one.labels;
      for (auto stamp : one.stamps) stamps[print][stamp] |= one.firing;
    }
    std::map<std::string, bool> is_active;
    for (auto& labels : *active) is_active[fingerprint(labels)] = true;
    const bool first = last_good_ == 0;
    for (auto& [print, history] : stamps) {
      if (first && !is_active.contains(print)) {
        known_[print].last_stamp = history.rbegin()->first;  // over before we looked: none of our business
        continue;
      }
      for (auto& [stamp, firing] : history) step(print, stamp, firing, first);
    }
    for (auto& [print, known] : known_)
      if (known.state != AlertState::resolved && !is_active.contains(print)) over(print, known);
    last_good_ = now;
    return "";
  }

  std::int64_t interval(const Known& known) const {
    auto name = known.labels.find("alertname");
    auto found = name == known.labels.end() ? intervals_.end() : intervals_.find(name->second);
    return found == intervals_.end() ? default_interval_ns : found->second;
  }

  void step(const std::string& print, std::int64_t stamp, bool firing, bool preexisting) {
    auto& known = known_[print];
    if (stamp <= known.last_stamp) return;
    // Evaluations that are missing in between mean that it was resolved and came back.
    if (known.state != AlertState::resolved && stamp - known.last_stamp > interval(known) * 5 / 2) over(print, known);
    const auto state = firing ? AlertState::firing : AlertState::pending;
    known.last_stamp = stamp;
    if (state == known.state) return;
    known.state = state;
    tell(print, known, stamp, preexisting);
  }

  // Resolved by the first evaluation that did not find it: one interval after the last that did.
  void over(const std::string& print, Known& known) {
    known.state = AlertState::resolved;
    tell(print, known, known.last_stamp + interval(known), false);
  }

  void tell(const std::string& print, const Known& known, std::int64_t since, bool preexisting) {
    AlertEvent event;
    event.source = name();
    event.state = known.state;
    event.labels = known.labels;
    if (auto name_label = event.labels.find("alertname"); name_label != event.labels.end()) event.alert = name_label->second;
    event.fingerprint = print;
    event.since_ns = since;
    event.seen_ns = wall_clock_ns();
    event.preexisting = preexisting;
    sinks().event(event);
  }

  std::map<std::string, Known> known_;
  std::map<std::string, std::int64_t> intervals_;
  std::int64_t last_good_ = 0;
  bool rules_known_ = false;
};

}  // namespace

std::unique_ptr<AlertSource> make_prometheus(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec,
                                             const AlertWatch::Sinks& sinks) {
  return std::make_unique<Prometheus>(io, client, spec, sinks);
}

}  // namespace squall
