#include "reports/record/record.hpp"

#include <algorithm>

#include "reports/record/record_reader.hpp"

namespace squall {
namespace {

constexpr std::array state_names{
    std::pair{AlertState::pending, std::string_view{"pending"}},
    std::pair{AlertState::firing, std::string_view{"firing"}},
    std::pair{AlertState::resolved, std::string_view{"resolved"}},
    std::pair{AlertState::silenced, std::string_view{"silenced"}},
    std::pair{AlertState::routed, std::string_view{"routed"}},
    std::pair{AlertState::notified, std::string_view{"notified"}},
    std::pair{AlertState::notified_resolved, std::string_view{"notified_resolved"}},
};

}  // namespace

std::string_view to_string(AlertState state) {
  for (auto& [value, name] : state_names)
    if (value == state) return name;
  return "firing";
}

std::optional<AlertState> alert_state(std::string_view name) {
  for (auto& [value, text] : state_names)
    if (text == name) return value;
  return std::nullopt;
}

boost::json::object to_event(const std::string& service, const std::string& probe,
                             const ProbeSample& sample) {
  boost::json::object out{
      {"s", service}, {"p", probe}, {"due", sample.due_ns}, {"lat", sample.latency_ns}, {"ok", sample.ok}};
  if (!sample.error.empty()) out["err"] = sample.error;
  if (sample.code) out["code"] = sample.code;
  if (sample.opened) out["new"] = true;
  if (sample.unseen) out["unseen"] = true;
  if (sample.phases)
    out["ph"] = {{"dns", sample.phases->dns_ns},
                 {"connect", sample.phases->connect_ns},
                 {"tls", sample.phases->tls_ns},
                 {"first_byte", sample.phases->first_byte_ns}};
  return out;
}

boost::json::object to_event(const AlertEvent& event) {
  boost::json::object labels;
  for (auto& [key, value] : event.labels)
    labels[key] = value;
  boost::json::object out{
      {"source", event.source},      {"state", to_string(event.state)},  {"alert", event.alert},
      {"labels", std::move(labels)}, {"fingerprint", event.fingerprint}, {"since", event.since_ns},
      {"seen", event.seen_ns}};
  if (!event.receiver.empty()) out["receiver"] = event.receiver;
  if (event.preexisting) out["preexisting"] = true;
  if (!event.address.empty()) out["address"] = event.address;
  if (event.gap_ns) out["gap_ns"] = event.gap_ns;
  if (!event.by.empty()) out["by"] = event.by;
  if (event.route)
    out["route"] = {{"wait_ns", event.route->wait_ns},
                    {"interval_ns", event.route->interval_ns},
                    {"group", event.route->group},
                    {"muted_by", boost::json::value_from(event.route->muted_by)},
                    {"max_alerts", event.route->max_alerts}};
  return out;
}

std::optional<std::int64_t> FaultRecord::end_t() const {
  if (!applied_t) return std::nullopt;
  if (lasting) return undone_t;
  auto end = *applied_t;
  for (auto& event : events)
    if (event.what == "process.died" && (!undone_t || event.t <= *undone_t)) end = std::max(end, event.t);
  return end;
}

std::optional<WindowSpan> RunRecord::fault_window() const {
  std::optional<WindowSpan> out;
  std::int64_t last = 0;
  for (auto& fault : faults) {
    if (!fault.applied_t) continue;
    if (!out) out = WindowSpan{*fault.applied_t, std::nullopt};
    out->start_t = std::min(out->start_t, *fault.applied_t);
    last = std::max(last, fault.undone_t.value_or(last_t));
  }
  if (out) out->end_t = std::max(last, out->start_t);
  return out;
}

std::optional<std::int64_t> RunRecord::faults_ended_t() const {
  std::optional<std::int64_t> out;
  for (auto& fault : faults) {
    if (!fault.applied_t) continue;
    const auto end = fault.end_t();
    if (!end) return std::nullopt;
    out = std::max(out.value_or(*end), *end);
  }
  return out;
}

RunRecord parse_record(std::string_view jsonl, std::vector<std::string>& problems) {
  RecordReader reader{problems};
  reader.clocks(jsonl);
  for (std::size_t at = 0; at < jsonl.size();) {
    const auto end = jsonl.find('\n', at);
    const bool torn = end == std::string_view::npos;
    reader.line(jsonl.substr(at, torn ? jsonl.size() - at : end - at), torn);
    if (torn) break;
    at = end + 1;
  }
  return reader.finish();
}

}  // namespace squall
