// Hand-made run records: a drill written line by line, as the engine would write it.
#pragma once

#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "reports/judge/verdict.hpp"
#include "reports/record/record.hpp"

namespace squall::testing {

inline constexpr std::int64_t second = 1'000'000'000;
inline constexpr std::int64_t wall_start = 1'795'424'000 * second;

inline constexpr std::string_view landscape_text = R"(environment: test
squads: {storage: {}, playlists: {}}
services:
  playlist:
    squad: playlists
    probes: [{http: "http://127.0.0.1:8080/", every: 100ms, timeout: 1s}]
    slo: {availability: 99.9%, latency_p99: 250ms}
alert_sources:
  - {prometheus: "http://127.0.0.1:9090"}
  - {webhook: "127.0.0.1:9099"}
)";

inline constexpr std::string_view playlist_probe = "http 127.0.0.1:8080/";

// A drill of 10 s baseline, a fault from 10 s to 30 s, recovery until 50 s, with `expect` as its
// expectations.
class MadeRecord {
 public:
  explicit MadeRecord(std::string expect, std::string for_text = "for: 20s") {
    const auto scenario =
        "scenario: made\ntitle: A made drill\nsquad: storage\nhypothesis: Nothing breaks\n"
        "method: [{name: slow, fault: network.delay, with: {delay: 80ms}, " +
        for_text + "}]\nexpect:\n" + expect;
    line(0, "run.started",
         {{"version", "0.1.0"},
          {"run", "20261123T085320Z-made"},
          {"scenario", "made"},
          {"title", "A made drill"},
          {"squad", "storage"},
          {"hypothesis", "Nothing breaks"},
          {"seed", 7},
          {"host", "here"},
          {"scenario_yaml", scenario},
          {"landscape_yaml", landscape_text},
          {"files", boost::json::array{"made.yaml"}},
          {"plan", boost::json::array{boost::json::object{
                       {"step", "slow"},
                       {"fault", "network.delay"},
                       {"host", "here"},
                       {"mechanism", "queue"},
                       {"targets", boost::json::array{"lo"}},
                       {"limits", boost::json::array{}},
                       {"changes", boost::json::array{boost::json::object{{"do", "add a table"},
                                                                          {"undo", "delete it"}}}}}}}});
    source("prometheus", true);
    source("webhook", true);
    window(0, "baseline", true), window(10, "baseline", false);
    window(10, "method", true);
  }

  MadeRecord& line(double t, std::string_view kind, boost::json::object event = {}) {
    const auto ns = static_cast<std::int64_t>(t * 1e9);
    boost::json::object whole{{"t", ns}, {"at", wall_start + ns}, {"kind", kind}};
    for (auto& [key, value] : event)
      whole[key] = value;
    text_ += boost::json::serialize(whole) + "\n";
    return *this;
  }
  MadeRecord& window(double t, std::string_view name, bool starts) {
    return line(t, starts ? "window.started" : "window.ended", {{"window", name}});
  }
  MadeRecord& source(std::string_view source, bool ok, double t = 0) {
    return line(
        t, "alert.source",
        {{"source", source}, {"address", "x"}, {"ok", ok}, {"error", ok ? "" : "connection refused"}});
  }
  // Samples of the playlist, ten a second, due in [from, to).
  MadeRecord& probes(double from, double to, double latency_ms, bool ok = true, std::string error = "") {
    for (auto t = static_cast<int>(from * 10); t < static_cast<int>(to * 10); ++t)
      probe(t / 10.0, latency_ms, ok, error);
    return *this;
  }
  MadeRecord& probe(double due, double latency_ms, bool ok = true, std::string error = "",
                    std::string service = "playlist") {
    ProbeSample sample;
    sample.due_ns = static_cast<std::int64_t>(due * 1e9);
    sample.latency_ns = static_cast<std::int64_t>(latency_ms * 1e6);
    sample.ok = ok;
    sample.error = std::move(error);
    return line(due + latency_ms / 1000, "probe", to_event(service, std::string(playlist_probe), sample));
  }
  // `off`: what the host's clock is ahead by, in seconds.
  MadeRecord& fault_begins(bool act = false, std::int64_t off = 0) {
    return line(10, "fault.applied",
                {{"step", "slow"},
                 {"fault", "network.delay"},
                 {"host", "here"},
                 {"mechanism", "queue"},
                 {"act", act},
                 {"targets", boost::json::array{"lo"}},
                 {"limits", boost::json::array{}},
                 {"applied_at", wall_start + (10 + off) * second},
                 {"apply_ns", 700'000}});
  }
  MadeRecord& fault(bool verified = true, std::string reason = "", bool act = false, std::int64_t off = 0) {
    const boost::json::object dose{{"prescribed", {{"delay_ms", 80}}},
                                   {"measured", {{"delay_ms", 81.25}}},
                                   {"samples", 412},
                                   {"verified", verified},
                                   {"reason", reason}};
    fault_begins(act, off);
    line(30, "fault.undone",
         {{"step", "slow"},
          {"host", "here"},
          {"undone_at", wall_start + (30 + off) * second},
          {"undo_ns", 500'000},
          {"why", "its time was over"},
          {"clean", true},
          {"left", boost::json::array{}},
          {"dose", dose}});
    return *this;
  }
  MadeRecord& alert(double t, AlertState state, std::string name = "Slow", std::string squad = "storage",
                    std::string receiver = "", std::string source = "prometheus", bool preexisting = false,
                    double seen = -1, double gap = 0) {
    AlertEvent event;
    event.source = receiver.empty() ? source : "webhook";
    event.state = state;
    event.alert = name;
    event.labels = {{"alertname", name}, {"squad", squad}};
    event.fingerprint = name + squad;
    event.since_ns = wall_start + static_cast<std::int64_t>(t * 1e9);
    event.receiver = receiver;
    event.preexisting = preexisting;
    event.address = "x";
    event.gap_ns = static_cast<std::int64_t>(gap * 1e9);
    return line(seen >= 0 ? seen : std::max(t, 0.0), "alert", to_event(event));
  }
  MadeRecord& suppressed(double t, std::string by) {
    AlertEvent event;
    event.source = "alertmanager", event.state = AlertState::silenced, event.alert = "Slow",
    event.by = std::move(by);
    event.labels = {{"alertname", "Slow"}, {"squad", "storage"}}, event.fingerprint = "Slowstorage";
    return line(t, "alert", to_event(event));
  }
  MadeRecord& routed(double t, std::string receiver, AlertRoute route = {}, std::string name = "Slow") {
    AlertEvent event;
    event.source = "alertmanager", event.state = AlertState::routed, event.alert = name,
    event.receiver = std::move(receiver);
    event.labels = {{"alertname", name}, {"squad", "storage"}}, event.fingerprint = name + "storage";
    event.route = std::move(route);
    return line(t, "alert", to_event(event));
  }
  MadeRecord& clock(double t, std::string_view of, std::string_view name, double offset, double error) {
    return line(t, "clock",
                {{"of", of},
                 {"name", name},
                 {"offset_ns", static_cast<std::int64_t>(offset * 1e9)},
                 {"error_ns", static_cast<std::int64_t>(error * 1e9)}});
  }
  MadeRecord& restored(bool clean = true) {
    return line(
        30.5, "restored",
        {{"host", "here"},
         {"clean", clean},
         {"differences", clean ? boost::json::array{} : boost::json::array{"qdisc lo: netem is still there"}},
         {"left", clean ? boost::json::array{}
                        : boost::json::array{boost::json::object{{"detail", "netem on lo"},
                                                                 {"by_hand", "tc qdisc del dev lo root"}}}}});
  }
  MadeRecord& end(double t = 50) {
    window(30, "method", false), window(30.6, "recovery", true), window(t, "recovery", false);
    return line(t, "run.ended");
  }
  // Everything between: fast answers throughout, the fault, the comparison, the end.
  MadeRecord& healthy() { return probes(0, 50, 5).fault().restored(); }

  const std::string& text() const { return text_; }
  RunRecord record() const {
    std::vector<std::string> problems;
    return parse_record(text_, problems);
  }
  Verdict judged() const { return judge(record()); }

 private:
  std::string text_;
};

}  // namespace squall::testing
