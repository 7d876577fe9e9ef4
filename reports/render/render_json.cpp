#include <cmath>

#include "reports/record/text.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

namespace json = boost::json;

json::value rounded(double value, double step = 1e6) {
  return std::round(value * step) / step;
}

json::value or_null(const std::optional<double>& value) {
  return value ? rounded(*value, 1e3) : json::value{};
}

json::value time_or_null(const RunRecord& record, const std::optional<std::int64_t>& t) {
  return t ? json::value(text::rfc3339(record.wall_ns(*t))) : json::value{};
}

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (auto& text : list)
    out.emplace_back(text);
  return out;
}

json::object labels(const std::map<std::string, std::string>& labels) {
  json::object out;
  for (auto& [key, value] : labels)
    out[key] = value;
  return out;
}

json::object windows(const RunRecord& record) {
  json::object out;
  for (auto& [name, span] : report_windows(record))
    out[name] = {{"start", text::rfc3339(record.wall_ns(span.start_t))},
                 {"end", time_or_null(record, span.end_t)}};
  return out;
}

json::object dose(const std::optional<DoseRecord>& given) {
  if (!given)
    return {{"prescribed", json::object{}},
            {"measured", json::object{}},
            {"samples", 0},
            {"verified", false},
            {"reason", "no dose was measured"}};
  json::object out{{"prescribed", given->prescribed},
                   {"measured", given->measured},
                   {"samples", given->samples},
                   {"verified", given->verified}};
  if (!given->reason.empty()) out["reason"] = given->reason;
  if (!given->shares.empty()) out["shares"] = given->shares;
  if (!given->witness.empty()) out["witness"] = given->witness;
  return out;
}

json::array faults(const RunRecord& record) {
  json::array out;
  for (auto& fault : record.faults) {
    json::array events;
    for (auto& event : fault.events) {
      json::object one{{"what", event.what}, {"at", text::rfc3339(record.wall_ns(event.t))}};
      for (auto& [key, value] : event.with)
        one.emplace(key, value);
      events.push_back(std::move(one));
    }
    json::object one{
        {"name", fault.step},
        {"fault", fault.fault},
        {"host", fault.host},
        {"mechanism", fault.mechanism},
        {"targets", texts(fault.targets)},
        {"limits", texts(fault.limits)},
        {"recorded_delays", fault.samples.empty() ? json::value(nullptr) : json::value(fault.samples)},
        {"applied_at", time_or_null(record, fault.applied_t)},
        {"undone_at", time_or_null(record, fault.undone_t)},
        {"apply_ms", rounded(static_cast<double>(fault.apply_ns) / 1e6)},
        {"undo_ms", rounded(static_cast<double>(fault.undo_ns) / 1e6)},
        {"dose", dose(fault.dose)},
        {"events", std::move(events)}};
    if (!fault.failed.empty()) one["error"] = fault.failed;
    out.push_back(std::move(one));
  }
  return out;
}

json::value interval(const QuantileInterval& given) {
  return json::array{given.low ? rounded(*given.low, 1e3) : json::value{},
                     given.high ? rounded(*given.high, 1e3) : json::value{}};
}

json::object figures(const Figures& given) {
  json::object out{{"probes", given.probes},
                   {"ok", given.ok},
                   {"not_asked", given.unseen},
                   {"new_connections", given.opened},
                   {"availability", given.probes ? json::value(rounded(given.availability)) : json::value{}},
                   {"availability_ci95",
                    json::array{rounded(given.availability_ci95.low), rounded(given.availability_ci95.high)}},
                   {"latency_ms", nullptr}};
  if (!given.latency) return out;
  auto& latency = *given.latency;
  out["latency_ms"] = {{"p50", rounded(latency.p50_ms, 1e3)},
                       {"p90", rounded(latency.p90_ms, 1e3)},
                       {"p99", rounded(latency.p99_ms, 1e3)},
                       {"max", rounded(latency.max_ms, 1e3)}};
  out["latency_ms_ci95"] = {{"p50", interval(latency.p50_ci_ms)},
                            {"p90", interval(latency.p90_ci_ms)},
                            {"p99", interval(latency.p99_ci_ms)}};
  return out;
}

// What other drills had in force on this one's hosts meanwhile.
json::array others(const RunRecord& record) {
  json::array out;
  for (auto& other : record.others)
    out.push_back(json::object{{"host", other.host},
                               {"run", other.run},
                               {"name", other.step},
                               {"fault", other.fault},
                               {"start", text::rfc3339(record.wall_ns(other.from_t))},
                               {"end", time_or_null(record, other.to_t)}});
  return out;
}

json::object in_windows(const std::map<std::string, Figures>& windows) {
  json::object out;
  for (auto& [name, seen] : windows)
    out[name] = figures(seen);
  return out;
}

// Times at which squall itself stood still.
json::array gaps(const RunRecord& record) {
  json::array out;
  for (auto& gap : record.gaps)
    out.push_back(json::object{{"start", text::rfc3339(record.wall_ns(gap.from_t))},
                               {"end", text::rfc3339(record.wall_ns(gap.to_t))},
                               {"suspended_s", rounded(static_cast<double>(gap.suspended_ns) / 1e9, 1e3)}});
  return out;
}

json::array services(const Verdict& verdict) {
  json::array out;
  for (auto& service : verdict.services) {
    json::array probes;
    for (auto& probe : service.probes)
      probes.push_back(json::object{{"probe", probe.probe},
                                    {"time_to_recover_s", or_null(probe.recovery.seconds)},
                                    {"windows", in_windows(probe.windows)}});
    out.push_back(json::object{{"service", service.service},
                               {"squad", service.squad},
                               {"time_to_recover_s", or_null(service.time_to_recover_s)},
                               {"windows", in_windows(service.windows)},
                               {"probes", std::move(probes)}});
  }
  return out;
}

json::array alerts(const Verdict& verdict) {
  json::array out;
  for (auto& alert : verdict.alerts)
    out.push_back(json::object{{"alert", alert.alert},
                               {"labels", labels(alert.labels)},
                               {"expected", alert.expected},
                               {"outcome", to_string(alert.outcome)},
                               {"fired", alert.fired},
                               {"pending_after_s", or_null(alert.pending_after_s)},
                               {"fired_after_s", or_null(alert.fired_after_s)},
                               {"notified_after_s", or_null(alert.notified_after_s)},
                               {"resolved_after_s", or_null(alert.resolved_after_s)},
                               {"reached", texts(alert.reached)}});
  return out;
}

json::object alert_score(const AlertScore& score) {
  return {{"expected", score.expected},
          {"caught", score.caught},
          {"missed", score.missed},
          {"unexpected", score.unexpected},
          {"precision", or_null(score.precision)},
          {"recall", or_null(score.recall)},
          {"mean_detection_s", or_null(score.mean_detection_s)}};
}

json::object restored(const Verdict& verdict) {
  json::array left;
  for (auto& one : verdict.left)
    left.push_back(json::object{{"host", one.host}, {"detail", one.detail}, {"by_hand", one.by_hand}});
  return {{"clean", verdict.restored ? json::value(*verdict.restored) : json::value{}},
          {"differences", texts(verdict.differences)},
          {"next_steps", texts(verdict.next_steps)},
          {"left", std::move(left)}};
}

json::array expectations(const Verdict& verdict) {
  json::array out;
  for (auto& judged : verdict.expectations)
    out.push_back(json::object{{"expectation", judged.expectation},
                               {"verdict", to_string(judged.outcome)},
                               {"evidence", judged.evidence}});
  return out;
}

// As json::serialize, but 0.9967 instead of its 9.967E-1: people read reports too.
void write(const json::value& value, std::string& out) {
  if (value.is_double()) {
    out += std::isfinite(value.get_double()) ? fmt::format("{}", value.get_double()) : "null";
  } else if (value.is_array()) {
    out += '[';
    for (auto& item : value.get_array()) {
      if (out.back() != '[') out += ", ";
      write(item, out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (auto& [key, member] : value.get_object()) {
      if (out.back() != '{') out += ", ";
      out += json::serialize(key) + ": ";
      write(member, out);
    }
    out += '}';
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string render_json(const RunRecord& record, const Verdict& verdict) {
  json::object out{{"schema", "squall.report/1"},
                   {"run", record.run},
                   {"scenario", record.scenario_name},
                   {"title", record.title},
                   {"squad", record.squad},
                   {"seed", record.seed},
                   {"started_by", record.started_by},
                   {"squall", record.version},
                   {"verdict", to_string(verdict.kind)},
                   {"headline", verdict.headline},
                   {"reasons", texts(verdict.reasons)},
                   {"windows", windows(record)},
                   {"faults", faults(record)},
                   {"services", services(verdict)},
                   {"alerts", alerts(verdict)},
                   {"alert_score", alert_score(verdict.score)},
                   {"expectations", expectations(verdict)},
                   {"findings", texts(verdict.findings)},
                   {"gaps", gaps(record)},
                   {"other_drills", others(record)},
                   {"restored", restored(verdict)}};
  std::string text;
  write(out, text);
  return text;
}

}  // namespace squall
