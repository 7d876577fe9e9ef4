#include "scenarios/reader.hpp"

#include <set>

namespace squall {
namespace {

// The keys of a landscape that a scenario may carry itself.
const std::vector<std::string>& landscape_keys() {
  static const std::vector<std::string> keys{"environment", "hosts", "squads", "services", "alert_sources"};
  return keys;
}

bool is_landscape_key(const std::string& key) {
  return std::find(landscape_keys().begin(), landscape_keys().end(), key) != landscape_keys().end();
}

template <class T>
void merge(std::map<std::string, T>& into, std::map<std::string, T> from) {
  for (auto& [key, value] : from) into[key] = std::move(value);
}

Landscape merged(Landscape base, Landscape own) {
  if (!own.environment.empty()) base.environment = own.environment;
  merge(base.hosts, std::move(own.hosts));
  merge(base.squads, std::move(own.squads));
  merge(base.services, std::move(own.services));
  if (!own.alert_sources.empty()) base.alert_sources = std::move(own.alert_sources);
  return base;
}

template <class T>
std::vector<std::string> keys_of(const std::map<std::string, T>& map) {
  std::vector<std::string> out;
  for (auto& [key, value] : map) out.push_back(key);
  return out;
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Reports a name that refers to nothing; the nearest known one is offered.
void unknown_name(Place place, std::string_view what, const std::string& name, const std::vector<std::string>& known,
                  Diagnostics& diagnostics) {
  auto message = fmt::format("unknown {} \"{}\"", what, name);
  if (auto close = nearest(name, known); !close.empty())
    message += fmt::format("; did you mean \"{}\"?", close);
  else if (!known.empty() && known.size() <= 12)
    message += ", expected one of " + listed(known);
  else if (known.empty())
    message += fmt::format("; no {} is defined", what);
  diagnostics.error(place, message);
}

bool contains(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

// What can be said only once the whole scenario is known.
class Checker {
 public:
  Checker(const Scenario& scenario, const Value& document, const FaultVocabulary& faults, Diagnostics& diagnostics)
      : scenario_(scenario), document_(document), faults_(faults), diagnostics_(diagnostics) {}

  void run() {
    check_landscape();
    check_method();
    check_expectations();
    check_halts();
    if (!scenario_.squad.empty() && !scenario_.landscape.squads.empty() && !scenario_.landscape.squads.contains(scenario_.squad))
      unknown_name(place_of(document_, "squad"), "squad", scenario_.squad, keys_of(scenario_.landscape.squads), diagnostics_);
  }

 private:
  static Place place_of(const Value& in, std::string_view key) {
    auto* value = in.find(key);
    return value ? value->place : in.place;
  }
  const Value* item(std::string_view list, std::size_t at) const {
    auto* value = document_.find(list);
    return value && value->kind == Value::Kind::list && at < value->items.size() ? &value->items[at] : nullptr;
  }

  void check_service(Place place, const std::string& name) {
    if (!scenario_.landscape.services.contains(name))
      unknown_name(place, "service", name, keys_of(scenario_.landscape.services), diagnostics_);
  }

  // Services that the scenario defines itself; those of the landscape file were checked with it.
  void check_landscape() {
    auto* services = document_.find("services");
    if (!services) return;
    auto& landscape = scenario_.landscape;
    for (auto& member : services->members) {
      auto found = landscape.services.find(member.key);
      if (found == landscape.services.end()) continue;
      auto& service = found->second;
      if (!service.squad.empty() && !landscape.squads.empty() && !landscape.squads.contains(service.squad))
        unknown_name(place_of(member.value, "squad"), "squad", service.squad, keys_of(landscape.squads), diagnostics_);
      auto known = keys_of(landscape.services);
      for (auto& squad : keys_of(landscape.squads)) known.push_back(squad);
      for (auto& need : service.depends_on)
        if (!contains(known, need)) unknown_name(place_of(member.value, "depends_on"), "service", need, known, diagnostics_);
    }
  }

  void check_method() {
    std::map<std::string, int> lines;
    if (scenario_.method.empty()) diagnostics_.error(place_of(document_, "method"), "expected at least one step, got none");
    for (std::size_t i = 0; i < scenario_.method.size(); ++i) {
      auto& step = scenario_.method[i];
      auto* in = item("method", i);
      const Value& where = in ? *in : document_;
      if (auto [first, fresh] = lines.emplace(step.name, step.place.line); !fresh)
        diagnostics_.error(place_of(where, "name"), fmt::format("duplicate step \"{}\", first given in line {}", step.name, first->second));
      check_fault(step, where);
      check_selector(step, where);
      check_after(step, where);
    }
  }

  void check_fault(const Step& step, const Value& where) {
    auto* parameters = faults_.parameters(step.fault);
    if (!parameters) return unknown_name(step.fault_place, "fault", step.fault, faults_.names(), diagnostics_);
    Value with = step.with;
    if (with.kind == Value::Kind::null) {
      with = Value::map();
      with.place = step.fault_place;
    }
    parameters->check(with, diagnostics_);
    if (faults_.lasting(step.fault) && !step.lasts)
      diagnostics_.error(where.place, fmt::format("missing key \"for\": {} stays in force, so say how long", step.fault));
    if (step.ramp && !faults_.ramps(step.fault))
      diagnostics_.error(place_of(where, "ramp"), fmt::format("{} cannot be ramped up", step.fault));
    auto* on = where.find("on");
    if (!on) return;
    const auto aims = faults_.aims(step.fault);
    for (auto& field : Describe<TargetSpec>::object().fields())
      if (auto* given = on->find(field.name); given && !contains(aims, field.name))
        diagnostics_.error(given->place, fmt::format("{} cannot be aimed with \"{}\", expected one of {}", step.fault, field.name, listed(aims)));
  }

  void check_selector(const Step& step, const Value& where) {
    auto* on = where.find("on");
    if (!on) return;
    auto& landscape = scenario_.landscape;
    if (step.on.service) check_service(place_of(*on, "service"), *step.on.service);
    if (step.on.host && !landscape.hosts.contains(*step.on.host) && !(landscape.hosts.empty() && *step.on.host == "here"))
      unknown_name(place_of(*on, "host"), "host", *step.on.host, keys_of(landscape.hosts), diagnostics_);
    for (auto& [key, value] : step.on.labels) {
      const bool somebody = std::any_of(landscape.hosts.begin(), landscape.hosts.end(), [&, k = key, v = value](auto& host) {
        auto found = host.second.labels.find(k);
        return found != host.second.labels.end() && found->second == v;
      });
      if (!somebody) diagnostics_.error(place_of(*on, "labels"), fmt::format("no host carries the label {}={}", key, value));
    }
  }

  void check_after(const Step& step, const Value& where) {
    if (!step.after) return;
    std::vector<std::string> names;
    for (auto& other : scenario_.method) names.push_back(other.name);
    if (!contains(names, *step.after)) return unknown_name(place_of(where, "after"), "step", *step.after, names, diagnostics_);
    std::set<std::string> seen{step.name};
    auto next = *step.after;
    while (seen.insert(next).second) {
      auto found = std::find_if(scenario_.method.begin(), scenario_.method.end(), [&](auto& s) { return s.name == next; });
      if (found == scenario_.method.end() || !found->after) return;
      next = *found->after;
    }
    if (next == step.name)
      diagnostics_.error(place_of(where, "after"), fmt::format("step \"{}\" waits for itself through \"{}\"", step.name, *step.after));
  }

  void check_expectations() {
    if (scenario_.expect.empty()) diagnostics_.error(place_of(document_, "expect"), "expected at least one expectation, got none");
    for (std::size_t i = 0; i < scenario_.expect.size(); ++i) {
      auto& expectation = scenario_.expect[i];
      auto* in = item("expect", i);
      const Value& where = in ? *in : document_;
      if (expectation.service) {
        check_service(place_of(where, "service"), *expectation.service);
        auto found = scenario_.landscape.services.find(*expectation.service);
        if (found != scenario_.landscape.services.end() && found->second.probes.empty())
          diagnostics_.error(place_of(where, "service"), fmt::format("service \"{}\" has no probes, so nothing can be told about it", *expectation.service));
      }
      if ((expectation.alert || expectation.other_alerts) && scenario_.landscape.alert_sources.empty())
        diagnostics_.error(where.place, "no alert source is defined, so nothing can be told about alerts");
      if (expectation.reaches && !scenario_.landscape.squads.empty() && !scenario_.landscape.squads.contains(*expectation.reaches))
        unknown_name(place_of(where, "reaches"), "squad", *expectation.reaches, keys_of(scenario_.landscape.squads), diagnostics_);
      if (expectation.reaches && std::none_of(scenario_.landscape.alert_sources.begin(), scenario_.landscape.alert_sources.end(),
                                              [](auto& s) { return s.kind == AlertSourceSpec::Kind::webhook; }))
        diagnostics_.error(place_of(where, "reaches"), "whom an alert reaches is seen by a webhook only, and no webhook is among the alert sources");
    }
  }

  void check_halts() {
    for (std::size_t i = 0; i < scenario_.halt_when.size(); ++i) {
      auto* in = item("halt_when", i);
      check_service(in ? place_of(*in, "service") : document_.place, scenario_.halt_when[i].service);
    }
  }

  const Scenario& scenario_;
  const Value& document_;
  const FaultVocabulary& faults_;
  Diagnostics& diagnostics_;
};

Value parse(std::string_view text, Diagnostics& diagnostics, std::string_view what) {
  auto document = parse_document(text, diagnostics);
  if (diagnostics.ok() && document.kind != Value::Kind::map)
    diagnostics.error(document.place.line ? document.place : Place{1, 1},
                      fmt::format("expected a {}, got {}", what, document.kind == Value::Kind::null ? "an empty file" : document.describe()));
  return document;
}

}  // namespace

Landscape read_landscape(std::string_view text, Diagnostics& diagnostics) {
  Landscape out;
  const auto document = parse(text, diagnostics, "landscape");
  if (document.kind == Value::Kind::map) Codec<Landscape>::decode(document, out, diagnostics);
  return out;
}

Scenario read_scenario(std::string_view text, const Landscape& base, const FaultVocabulary& faults, Diagnostics& diagnostics) {
  Scenario out;
  const auto document = parse(text, diagnostics, "scenario");
  if (document.kind != Value::Kind::map) return out;
  Value own = Value::map(), landscape = Value::map();
  own.place = landscape.place = document.place;
  for (auto& member : document.members) (is_landscape_key(member.key) ? landscape : own).members.push_back(member);
  static const auto schema = [] {
    auto with_landscape = Describe<Scenario>::object();
    with_landscape.also_known(landscape_keys());
    return with_landscape;
  }();
  Landscape own_landscape;
  schema.decode(own, out, diagnostics);
  Codec<Landscape>::decode(landscape, own_landscape, diagnostics);
  out.landscape = merged(base, std::move(own_landscape));
  Checker{out, document, faults, diagnostics}.run();
  return out;
}

namespace {

boost::json::object with_preamble(boost::json::object schema, std::string_view title) {
  boost::json::object out{{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", title}};
  for (auto& [key, value] : schema) out[key] = value;
  return out;
}

}  // namespace

boost::json::object landscape_json_schema() {
  return with_preamble(Describe<Landscape>::object().json_schema(), "Squall landscape");
}

boost::json::object scenario_json_schema(const FaultVocabulary& faults) {
  auto schema = Describe<Scenario>::object().json_schema();
  auto& properties = schema["properties"].as_object();
  const auto landscape = Describe<Landscape>::object().json_schema();
  for (auto& [key, value] : landscape.at("properties").as_object()) properties[key] = value;
  // The parameters belong to the fault that is named.
  auto step = Describe<Step>::object().json_schema();
  boost::json::array names, rules;
  for (auto& name : faults.names()) {
    names.emplace_back(name);
    boost::json::object when{{"properties", boost::json::object{{"fault", boost::json::object{{"const", name}}}}}};
    boost::json::object then{{"properties", boost::json::object{{"with", faults.parameters(name)->json_schema()}}}};
    rules.push_back(boost::json::object{{"if", std::move(when)}, {"then", std::move(then)}});
  }
  step["properties"].as_object()["fault"].as_object()["enum"] = std::move(names);
  step["properties"].as_object()["fault"].as_object().erase("type");
  step["allOf"] = std::move(rules);
  properties["method"] = {{"type", "array"}, {"items", std::move(step)}, {"description", "the faults on their timeline"}};
  return with_preamble(std::move(schema), "Squall scenario");
}

}  // namespace squall
