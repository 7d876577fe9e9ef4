// Prometheus: the exact times of every transition, from the raw evaluation stamps of ALERTS over a range; the
// API's list of alerts forgets a resolved one at once and knows no times but activeAt.
#include "controller/alerts/fingerprint.hpp"
#include "controller/alerts/parse.hpp"
#include "controller/alerts/poller.hpp"
#include "controller/record/run_log.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::int64_t default_interval_ns = 60'000'000'000;

class Prometheus : public Poller {
 public:
  Prometheus(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec,
             const AlertWatch::Sinks& sinks)
      : Poller(io, client, spec, sinks, "prometheus") {}

 private:
  struct Known {
    Labels labels;
    AlertState state = AlertState::resolved;
    std::int64_t last_stamp = 0;
  };
  using ActiveSince = std::map<std::string, std::int64_t>;  // by fingerprint, when it became pending

  bool clock_by_date() const override { return false; }

  void look() override {
    // Back to the last good look and a little further, so that an outage of the source hides no transition.
    const auto back = since_last_look_ns() / 1'000'000'000 + 10;
    std::vector<std::string> paths{"?/api/v1/query?query=time()",
                                   fmt::format("/api/v1/query?query=ALERTS%5B{}s%5D", back), "/api/v1/alerts",
                                   "?/api/v1/status/runtimeinfo"};
    if (monotonic_clock_ns() > rules_again_) paths.emplace_back("/api/v1/rules?type=alert");
    ask(std::move(paths), [this](const std::vector<std::string>& bodies) { return take(bodies); });
  }

  // Answers come one after the other; only the first is timed here, before the next is asked.
  void answered(std::size_t place, const std::string& body) override {
    if (place != 0) return;
    if (auto now = parse_time(body)) {
      now_there_ = *now;
      if (const auto step = clock_said(*now - 1'000'000, *now + 1'000'000)) set_by(step);
      return;
    }
    now_there_ = wall_clock_ns();
    no_clock("it does not tell time()");
  }

  // Its clock was set: the gap in its stamps is none of the alert's.
  void set_by(std::int64_t step_ns) {
    for (auto& [print, known] : known_)
      known.last_stamp += step_ns;
    if (restarted_at_) restarted_at_ += step_ns;
  }

  std::string take(const std::vector<std::string>& bodies) {
    if (bodies.size() > 4) {
      auto rules = parse_rules(bodies[4]);
      if (!rules) return rules.error();
      take_rules(std::move(*rules));
    }
    auto series = parse_alert_series(bodies[1]);
    if (!series) return series.error();
    auto active = parse_active_alerts(bodies[2]);
    if (!active) return active.error();
    if (auto started = parse_runtimeinfo(bodies[3])) note_start(*started);
    std::map<std::string, std::map<std::int64_t, bool>> stamps;  // fingerprint → stamp → firing
    for (auto& one : *series) {
      const auto print = fingerprint(one.labels);
      known_[print].labels = one.labels;
      for (auto stamp : one.stamps)
        stamps[print][stamp] |= one.firing;
    }
    ActiveSince since;
    for (auto& alert : *active)
      since[fingerprint(alert.labels)] = alert.active_at;
    for (auto& [print, history] : stamps) {
      if (first_ && !since.contains(print)) {
        known_[print].last_stamp = history.rbegin()->first;  // over before we looked: none of our business
        continue;
      }
      for (auto& [stamp, firing] : history)
        step(print, stamp, firing, since);
    }
    for (auto& [print, known] : known_)
      if (known.state != AlertState::resolved && !since.contains(print) && !may_have_forgotten(known))
        over(print, known);
    first_ = false;
    return "";
  }

  void take_rules(std::vector<AlertRule> rules) {
    constexpr std::int64_t ask_rules_again_ns = 15'000'000'000;
    rules_again_ = monotonic_clock_ns() + ask_rules_again_ns;
    for (auto& rule : rules) {
      const bool known = std::any_of(rules_.begin(), rules_.end(), [&](auto& r) {
        return r.alert == rule.alert && r.labels == rule.labels && r.interval_ns == rule.interval_ns;
      });
      if (!known && sinks().rule) sinks().rule(rule);
    }
    blind(rules.empty() ? "it has no alerting rules" : "");
    rules_ = std::move(rules);
  }

  void note_start(std::int64_t started) {
    if (started_at_ && started != started_at_) restarted_at_ = started, restarted();
    started_at_ = started;
  }

  // The rule that an alert is of: one of its name whose labels it carries. Of several the one that is
  // evaluated least often, since taking an alert for resolved too early would be the worse mistake.
  const AlertRule* rule_of(const Known& known) const {
    auto name = known.labels.find("alertname");
    const AlertRule* out = nullptr;
    for (auto& rule : rules_) {
      const bool carried = name != known.labels.end() && rule.alert == name->second &&
                           std::all_of(rule.labels.begin(), rule.labels.end(), [&](auto& label) {
                             auto found = known.labels.find(label.first);
                             return label.second.find("{{") != std::string::npos ||
                                    (found != known.labels.end() && found->second == label.second);
                           });
      if (carried && (!out || rule.interval_ns > out->interval_ns)) out = &rule;
    }
    return out;
  }
  std::int64_t interval(const Known& known) const {
    auto* rule = rule_of(known);
    return rule ? rule->interval_ns : default_interval_ns;
  }

  // A Prometheus that began anew evaluates every rule from nothing, and what it had pending or firing comes
  // back when its data, and the time that the rule waits, are there again.
  std::int64_t knows_again_at(const Known& known) const {
    constexpr std::int64_t scrapes_ns = 15'000'000'000;
    auto* rule = rule_of(known);
    return restarted_at_ + (rule ? rule->for_ns + 3 * rule->interval_ns : 3 * default_interval_ns) +
           scrapes_ns;
  }
  bool may_have_forgotten(const Known& known) const {
    return restarted_at_ && known.last_stamp < knows_again_at(known) && now_there_ < knows_again_at(known);
  }

  void step(const std::string& print, std::int64_t stamp, bool firing, const ActiveSince& since) {
    auto& known = known_[print];
    if (stamp <= known.last_stamp) return;
    const auto gap = stamp - known.last_stamp;
    const bool was_restarted = restarted_at_ && known.last_stamp < restarted_at_ + 3 * interval(known) &&
                               stamp < knows_again_at(known);
    if (known.state != AlertState::resolved && !was_restarted && came_back(print, known, gap, since))
      over(print, known);
    const auto state = firing ? AlertState::firing : AlertState::pending;
    known.last_stamp = stamp;
    if (state == known.state || (was_restarted_pending(known, state) && stamp < knows_again_at(known)))
      return;
    known.state = state;
    tell(print, known, stamp);
  }

  bool was_restarted_pending(const Known& known, AlertState state) const {
    return restarted_at_ && known.state == AlertState::firing && state == AlertState::pending;
  }

  // Evaluations that are missing in between mean that it was resolved and came back; of one that is missing,
  // what it says of itself decides.
  bool came_back(const std::string& print, const Known& known, std::int64_t gap,
                 const ActiveSince& since) const {
    if (gap > interval(known) * 5 / 2) return true;
    auto found = since.find(print);
    return gap > interval(known) * 3 / 2 && found != since.end() && found->second > known.last_stamp;
  }

  // Resolved by the first evaluation that did not find it: one interval after the last that did. After a
  // restart nobody knows when it was between that and now.
  void over(const std::string& print, Known& known) {
    known.state = AlertState::resolved;
    if (!restarted_at_ || known.last_stamp >= restarted_at_)
      return tell(print, known, known.last_stamp + interval(known));
    auto event = event_of(known.labels, print, known.state, 0);
    event.gap_ns = std::max<std::int64_t>(now_there_ - known.last_stamp, 0);
    sinks().event(event);
  }

  void tell(const std::string& print, const Known& known, std::int64_t since) {
    auto event = event_of(known.labels, print, known.state, since);
    event.preexisting = first_;
    sinks().event(event);
  }

  std::map<std::string, Known> known_;
  std::vector<AlertRule> rules_;
  std::int64_t rules_again_ = 0;                                    // monotonic
  std::int64_t now_there_ = 0, started_at_ = 0, restarted_at_ = 0;  // by its own clock
  bool first_ = true;
};

}  // namespace

std::unique_ptr<AlertSource> make_prometheus(boost::asio::io_context& io, http::Client& client,
                                             const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks) {
  return std::make_unique<Prometheus>(io, client, spec, sinks);
}

}  // namespace squall
