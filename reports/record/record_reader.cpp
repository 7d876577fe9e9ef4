#include "reports/record/record_reader.hpp"

#include <algorithm>
#include <limits>

#include "reports/record/at_once.hpp"
#include "reports/record/proxied.hpp"
#include "scenarios/model/reader.hpp"

namespace squall {
namespace {

namespace json = boost::json;

// A clock of another host is believed this far into the past of the line that tells it.
constexpr std::int64_t host_patience_ns = 5'000'000'000;
constexpr std::int64_t no_limit = std::numeric_limits<std::int64_t>::max() / 4;

std::string text(const json::object& in, std::string_view key) {
  auto* member = in.if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : std::string();
}

std::int64_t number(const json::object& in, std::string_view key) {
  auto* member = in.if_contains(key);
  json::error_code failed;
  const auto value = member && member->is_number() ? member->to_number<std::int64_t>(failed) : 0;
  return failed ? 0 : value;
}

bool flag(const json::object& in, std::string_view key) {
  auto* member = in.if_contains(key);
  return member && member->is_bool() && member->get_bool();
}

const json::array& list(const json::object& in, std::string_view key) {
  static const json::array none;
  auto* member = in.if_contains(key);
  return member && member->is_array() ? member->get_array() : none;
}

const json::object& object(const json::object& in, std::string_view key) {
  static const json::object none;
  auto* member = in.if_contains(key);
  return member && member->is_object() ? member->get_object() : none;
}

std::vector<std::string> texts(const json::object& in, std::string_view key) {
  std::vector<std::string> out;
  for (auto& item : list(in, key))
    out.push_back(item.is_string() ? std::string(item.get_string()) : json::serialize(item));
  return out;
}

std::map<std::string, std::string> labels(const json::object& in) {
  std::map<std::string, std::string> out;
  for (auto& [key, value] : object(in, "labels"))
    out[std::string(key)] = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  return out;
}

std::optional<DoseRecord> dose(const json::object& in) {
  auto* member = in.if_contains("dose");
  if (!member || !member->is_object()) return std::nullopt;
  auto& given = member->get_object();
  DoseRecord out;
  // Copies of their own: the line's memory is gone after it.
  out.prescribed = json::object(object(given, "prescribed"), json::storage_ptr{});
  out.measured = json::object(object(given, "measured"), json::storage_ptr{});
  out.samples = static_cast<std::uint64_t>(std::max<std::int64_t>(0, number(given, "samples")));
  out.verified = flag(given, "verified");
  out.reason = text(given, "reason");
  out.shares = json::array(list(given, "shares"), json::storage_ptr{});
  out.witness = json::object(object(given, "witness"), json::storage_ptr{});
  return out;
}

std::vector<LeftBehind> left(const json::object& in, const std::string& host) {
  std::vector<LeftBehind> out;
  for (auto& item : list(in, "left")) {
    if (item.is_object())
      out.push_back({host, text(item.get_object(), "detail"), text(item.get_object(), "by_hand")});
    else
      out.push_back({host, item.is_string() ? std::string(item.get_string()) : json::serialize(item), ""});
  }
  return out;
}

// The record was checked when the run began; reading it again must not need the catalogue.
class AnyFault final : public FaultVocabulary {
 public:
  std::vector<std::string> names() const override { return {}; }
  const ObjectSchema* parameters(std::string_view) const override { return nullptr; }
  std::vector<std::string> aims(std::string_view) const override { return {}; }
  std::string sentence(std::string_view) const override { return ""; }
  bool lasting(std::string_view) const override { return false; }
  bool ramps(std::string_view) const override { return true; }
};

Scenario read_again(const std::string& scenario_yaml, const std::string& landscape_yaml) {
  // What it complains about (faults it does not know) was decided before the run; what it understood is what
  // counts.
  Diagnostics of_landscape{"landscape", landscape_yaml}, of_scenario{"scenario", scenario_yaml};
  Landscape landscape;
  if (!landscape_yaml.empty()) landscape = read_landscape(landscape_yaml, of_landscape);
  if (scenario_yaml.empty()) return {};
  return read_scenario(scenario_yaml, landscape, AnyFault{}, of_scenario);
}

}  // namespace

std::int64_t RecordReader::brought(std::int64_t wall_ns, std::int64_t patience_ns) const {
  if (wall_ns <= 0) return now_.t;
  const auto ago = now_.at - wall_ns;
  // What came while squall stood still was told in time, and heard late.
  if (ago >= 0 && !out_.gaps.empty() && now_.t - ago >= out_.gaps.back().from_t) return now_.t - ago;
  return ago < 0 || ago > patience_ns ? now_.t : now_.t - ago;
}

Instant RecordReader::by_host(const std::string& host, std::int64_t wall_ns) const {
  const auto whose = "host " + host;
  if (wall_ns <= 0 || !out_.clocks.known(whose)) return Instant::exactly(brought(wall_ns, host_patience_ns));
  auto out = out_.clocks.bring(whose, wall_ns, now_.t, now_.t - host_patience_ns);
  if (!out.known) out.early_t = now_.t - host_patience_ns;
  return out;
}

Instant RecordReader::by_source(const AlertEvent& event) const {
  if (event.since_ns <= 0) return {now_.t, now_.t - event.gap_ns, now_.t, true};
  if (out_.clocks.empty()) return Instant::exactly(brought(event.since_ns, no_limit));
  std::optional<Instant> out;
  for (auto& [whose, readings] : out_.clocks.all()) {
    if (!whose.starts_with("prometheus ") || !out_.clocks.known(whose)) continue;
    if (event.source == "prometheus" && whose != "prometheus " + event.address) continue;
    const auto one = out_.clocks.bring(whose, event.since_ns, now_.t,
                                       event.gap_ns ? now_.t - event.gap_ns - host_patience_ns : -no_limit);
    if (!out) out = one;
    out->early_t = std::min(out->early_t, one.early_t), out->late_t = std::max(out->late_t, one.late_t),
    out->known = out->known && one.known;
  }
  if (out && out->known) return *out;
  // Nobody knows that clock. What is sure: it was so when it was seen, and not yet at the look before.
  const auto told = brought(event.since_ns, no_limit);
  return {told, event.gap_ns ? std::min(told, now_.t - event.gap_ns) : told, now_.t, event.gap_ns > 0};
}

void RecordReader::clocks(std::string_view jsonl) {
  for (auto at = jsonl.find("\"kind\":\"clock\""); at != std::string_view::npos;
       at = jsonl.find("\"kind\":\"clock\"", at + 1)) {
    const auto begin = jsonl.rfind('\n', at) + 1, end = jsonl.find('\n', at);  // npos + 1 is the beginning
    json::error_code failed;
    const auto value = json::parse(jsonl.substr(begin, end - begin), failed);
    if (failed || !value.is_object()) continue;
    auto& event = value.get_object();
    const auto t = number(event, "t");
    out_.clocks.add(text(event, "of") + " " + text(event, "name"),
                    {t, !event.contains("unknown"), number(event, "offset_ns") + number(event, "at") - t,
                     number(event, "error_ns"), flag(event, "stepped"), t - number(event, "held_ns")});
  }
}

void RecordReader::line(std::string_view line, bool torn) {
  ++number_;
  if (line.empty()) return;
  json::monotonic_resource memory;
  json::error_code failed;
  const auto value = json::parse(line, failed, &memory);
  if (failed || !value.is_object()) {
    if (!torn)
      problems_.push_back(fmt::format("line {} of the record is not a JSON object: {}", number_,
                                      failed ? failed.message() : "something else"));
    return;
  }
  auto& event = value.get_object();
  now_ = {number(event, "t"), number(event, "at")};
  out_.last_t = std::max(out_.last_t, now_.t);
  auto* kind = event.if_contains("kind");
  if (kind && kind->is_string())
    dispatch(std::string_view(kind->get_string()), event);
  else
    problems_.push_back(fmt::format("line {} of the record has no kind", number_));
}

void RecordReader::dispatch(std::string_view kind, const Object& event) {
  if (kind == "probe") return probe(event);
  if (kind == "run.started") return started(event);
  if (kind == "window.started" || kind == "window.ended") return window(event, kind == "window.ended");
  if (kind == "fault.applied") return applied(event);
  if (kind == "fault.failed") {
    fault(event).failed = text(event, "error");
  } else if (kind == "fault.dose") {
    if (auto measured = dose(event); measured && !fault(event).undone_t)
      fault(event).dose = std::move(measured);
  } else if (kind == "fault.event") {
    return happening(event);
  } else if (kind == "fault.undone") {
    return undone(event);
  } else if (kind == "alert") {
    return alert(event);
  } else if (kind == "alert.source") {
    out_.sources.push_back({now_.t, text(event, "source"), text(event, "address"), flag(event, "ok"),
                            text(event, "error"), text(event, "blind")});
  } else if (kind == "alert.rule") {
    out_.rules.push_back(
        {text(event, "alert"), labels(event), number(event, "for_ns"), number(event, "interval_ns")});
  } else if (kind == "alert.restart") {
    out_.restarts.push_back({now_.t, text(event, "source"), text(event, "address")});
  } else if (kind == "alert.cut") {
    out_.cut.push_back({now_.t, text(event, "receiver"), number(event, "count")});
  } else if (kind == "clock.step") {
    out_.own_steps.push_back({now_.t, number(event, "by_ns")});
  } else if (kind == "clock") {
    // read ahead of everything
  } else if (kind == "lookout") {
    out_.lookouts.push_back(text(event, "text"));
  } else if (kind == "silence") {
    // For who looks on: the probe's own line comes in time.
  } else if (kind == "other") {
    return other(event);
  } else if (kind == "gap") {
    return gap(event);
  } else if (kind == "halt") {
    if (!out_.halt) out_.halt = HaltRecord{now_.t, text(event, "reason"), text(event, "by")};
  } else if (kind == "restored") {
    return restored(event);
  } else if (kind == "error") {
    out_.errors.push_back(text(event, "text"));
  } else if (kind == "run.ended") {
    out_.ended = true;
  } else {
    problems_.push_back(fmt::format("line {} of the record is of the unknown kind \"{}\"", number_, kind));
  }
}

void RecordReader::started(const Object& event) {
  out_.started = true;
  out_.wall_start_ns = now_.at - now_.t;
  out_.version = text(event, "version");
  out_.run = text(event, "run");
  out_.scenario_name = text(event, "scenario");
  out_.title = text(event, "title");
  out_.squad = text(event, "squad");
  out_.hypothesis = text(event, "hypothesis");
  out_.host = text(event, "host");
  out_.started_by = text(event, "started_by");
  if (auto* seed = event.if_contains("seed"); seed && seed->is_number()) {
    json::error_code failed;
    out_.seed = seed->to_number<std::uint64_t>(failed);
  }
  out_.files = texts(event, "files");
  out_.scenario_yaml = text(event, "scenario_yaml");
  out_.landscape_yaml = text(event, "landscape_yaml");
  out_.scenario = read_again(out_.scenario_yaml, out_.landscape_yaml);
  for (auto& item : list(event, "samples"))
    if (item.is_object()) samples(item.get_object());
  for (auto& item : list(event, "plan")) {
    if (!item.is_object()) continue;
    auto& step = item.get_object();
    out_.plan.push_back({text(step, "step"), text(step, "fault"), text(step, "host"), text(step, "mechanism"),
                         texts(step, "targets"), texts(step, "limits"),
                         json::array(list(step, "changes"), json::storage_ptr{})});
  }
}

void RecordReader::samples(const Object& of_step) {
  for (auto& step : out_.scenario.method) {
    if (step.name != text(of_step, "step")) continue;
    step.samples.emplace(SampleFile{text(of_step, "file"), {}});
    for (auto& delay : list(of_step, "delays_ns"))
      if (delay.is_int64()) step.samples->delays.push_back({delay.get_int64()});
  }
}

void RecordReader::window(const Object& event, bool ended) {
  const auto name = text(event, "window");
  if (!ended)
    out_.windows[name] = {now_.t, std::nullopt};
  else if (auto found = out_.windows.find(name); found != out_.windows.end())
    found->second.end_t = now_.t;
}

void RecordReader::probe(const Object& event) {
  ProbeSample sample;
  sample.due_ns = number(event, "due");
  sample.latency_ns = number(event, "lat");
  sample.ok = flag(event, "ok");
  sample.error = text(event, "err");
  sample.code = static_cast<int>(number(event, "code"));
  if (auto& ph = object(event, "ph"); !ph.empty())
    sample.phases =
        ProbePhases{number(ph, "dns"), number(ph, "connect"), number(ph, "tls"), number(ph, "first_byte")};
  sample.opened = flag(event, "new");
  sample.unseen = flag(event, "unseen");
  series(text(event, "s"), text(event, "p")).push_back(std::move(sample));
}

std::vector<ProbeSample>& RecordReader::series(const std::string& service, const std::string& probe) {
  const auto [place, fresh] = series_.emplace(std::pair{service, probe}, out_.probes.size());
  if (fresh) out_.probes.push_back({service, probe, {}});
  return out_.probes[place->second].samples;
}

void RecordReader::other(const Object& event) {
  OtherFault told{text(event, "host"),
                  text(event, "run"),
                  text(event, "step"),
                  text(event, "fault"),
                  brought(number(event, "since"), no_limit),
                  std::nullopt};
  for (auto& known : out_.others)
    if (known.host == told.host && known.run == told.run && known.step == told.step && !known.to_t) {
      if (flag(event, "over")) known.to_t = now_.t;
      return;
    }
  if (flag(event, "over")) told.to_t = now_.t;
  out_.others.push_back(std::move(told));
}

void RecordReader::gap(const Object& event) {
  out_.gaps.push_back({number(event, "from"), number(event, "to"), number(event, "suspended")});
  // A night's sleep need not become millions of samples: so many decide everything already.
  constexpr std::int64_t most = 100'000;
  for (auto& item : list(event, "not_asked")) {
    if (!item.is_object()) continue;
    auto& of = item.get_object();
    auto& samples = series(text(of, "s"), text(of, "p"));
    for (std::int64_t i = 0; i < std::min(number(of, "n"), most); ++i)
      samples.push_back({.due_ns = number(of, "due") + i * number(of, "every"),
                         .error = "squall stood still",
                         .unseen = true});
  }
}

FaultRecord& RecordReader::fault(const Object& event) {
  const auto step = text(event, "step"), host = text(event, "host");
  for (auto& one : out_.faults)
    if (one.step == step && one.host == host) return one;
  FaultRecord fresh;
  fresh.step = step;
  fresh.host = host;
  fresh.fault = text(event, "fault");
  for (auto& planned : out_.scenario.method)
    if (planned.name == step) {
      fresh.lasting = planned.lasts.has_value();
      if (planned.samples) fresh.samples = describe(*planned.samples);
    }
  for (auto& planned : out_.plan)
    if (planned.step == step && planned.host == host) {
      fresh.fault = planned.fault;
      fresh.mechanism = planned.mechanism;
      fresh.targets = planned.targets;
      fresh.limits = planned.limits;
    }
  return out_.faults.emplace_back(std::move(fresh));
}

void RecordReader::applied(const Object& event) {
  auto& one = fault(event);
  const auto when = by_host(one.host, number(event, "applied_at"));
  one.applied_t = when.t;
  one.clock_error_ns = std::max({one.clock_error_ns, when.late_t - when.t, when.t - when.early_t});
  one.apply_ns = number(event, "apply_ns");
  if (event.contains("act")) one.lasting = !flag(event, "act");
  if (auto name = text(event, "fault"); !name.empty()) one.fault = name;
  if (auto mechanism = text(event, "mechanism"); !mechanism.empty()) one.mechanism = mechanism;
  if (event.contains("targets")) one.targets = texts(event, "targets");
  if (event.contains("limits")) one.limits = texts(event, "limits");
}

void RecordReader::undone(const Object& event) {
  auto& one = fault(event);
  const auto when = by_host(one.host, number(event, "undone_at"));
  one.undone_t = when.t;
  one.clock_error_ns = std::max({one.clock_error_ns, when.late_t - when.t, when.t - when.early_t});
  if (one.applied_t) one.undone_t = std::max(*one.undone_t, *one.applied_t);
  one.undo_ns = number(event, "undo_ns");
  one.undone_why = text(event, "why");
  one.undone_clean = flag(event, "clean");
  one.left = left(event, one.host);
  if (auto measured = dose(event)) one.dose = std::move(measured);
}

void RecordReader::happening(const Object& event) {
  FaultHappening out;
  out.t = by_host(text(event, "host"), number(event, "happened_at")).t;
  out.what = text(event, "what");
  for (auto& [key, value] : event)
    if (key != "t" && key != "at" && key != "kind" && key != "step" && key != "host" && key != "what" &&
        key != "happened_at")
      out.with[key] = json::value(value, json::storage_ptr{});
  fault(event).events.push_back(std::move(out));
}

void RecordReader::alert(const Object& event) {
  const auto state = alert_state(text(event, "state"));
  if (!state)
    return problems_.push_back(
        fmt::format("line {} of the record: unknown alert state \"{}\"", number_, text(event, "state")));
  AlertSighting out;
  out.seen_t = now_.t;
  out.event = {text(event, "source"),      *state,
               text(event, "alert"),       labels(event),
               text(event, "fingerprint"), number(event, "since"),
               number(event, "seen"),      text(event, "receiver"),
               flag(event, "preexisting"), text(event, "address"),
               number(event, "gap_ns"),    text(event, "by")};
  if (event.contains("route")) {
    auto& route = object(event, "route");
    out.event.route = {number(route, "wait_ns"), number(route, "interval_ns"), text(route, "group"),
                       texts(route, "muted_by"), number(route, "max_alerts")};
  }
  out.when = by_source(out.event);
  out.t = out.when.t;
  out_.alerts.push_back(std::move(out));
}

void RecordReader::restored(const Object& event) {
  HostRestored out;
  out.host = text(event, "host");
  out.note = text(event, "note");
  out.clean = flag(event, "clean");
  out.differences = texts(event, "differences");
  out.see = texts(event, "see");
  out.meanwhile = texts(event, "meanwhile");
  out.ended = texts(event, "ended");
  out.left = left(event, out.host);
  out_.restored.push_back(std::move(out));
}

RunRecord RecordReader::finish() {
  if (!out_.started)
    problems_.push_back("the record has no run.started: it is not a run's record, or its beginning is lost");
  mark_proxied_handshakes(out_);
  for (auto& series : out_.probes)
    std::sort(series.samples.begin(), series.samples.end(),
              [](auto& a, auto& b) { return a.due_ns < b.due_ns; });
  judge_at_once(out_);
  return std::move(out_);
}

}  // namespace squall
