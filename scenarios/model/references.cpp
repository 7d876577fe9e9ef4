#include "scenarios/model/references.hpp"

namespace squall {
namespace {

template <class Map>
std::vector<std::string> names(const Map& map) {
  std::vector<std::string> out;
  for (auto& [name, entry] : map)
    out.push_back(name);
  return out;
}

bool carries(const HostSpec& host, const std::map<std::string, std::string>& labels) {
  return std::all_of(labels.begin(), labels.end(), [&](auto& label) {
    auto found = host.labels.find(label.first);
    return found != host.labels.end() && found->second == label.second;
  });
}

class Names {
 public:
  Names(const Landscape& landscape, Diagnostics& diagnostics)
      : landscape_(landscape), diagnostics_(diagnostics) {}

  void service(const Value* name) { in(name, "service", landscape_.services); }
  // What a service needs may be known by its own name or by its squad's.
  void dependency(const Value* name) {
    if (name->kind != Value::Kind::scalar || !landscape_.squads.contains(name->text)) service(name);
  }
  void host(const Value* name) {
    if (!landscape_.hosts.empty() || (name && name->text != "here")) in(name, "host", landscape_.hosts);
  }
  // Squads may stay undeclared altogether: then their names are only labels.
  void squad(const Value* name) {
    if (!landscape_.squads.empty()) in(name, "squad", landscape_.squads);
  }
  // Some host carries all of the labels.
  void labels(const Value* given) {
    if (!given || given->kind != Value::Kind::map) return;
    std::map<std::string, std::string> wanted;
    for (auto& label : given->members) {
      if (label.value.kind != Value::Kind::scalar) return;
      wanted[label.key] = label.value.text;
      if (!label_exists(label)) return;
    }
    for (auto& [name, host] : landscape_.hosts)
      if (carries(host, wanted)) return;
    if (!wanted.empty()) diagnostics_.error(given->place, "no host carries all of these labels");
  }
  // Somebody has to ask the service, or nothing is ever known about it.
  void observed(const Value* name, std::string_view why) {
    if (!name) return;
    auto found = landscape_.services.find(name->text);
    if (found != landscape_.services.end() && found->second.probes.empty())
      diagnostics_.error(name->place, fmt::format("service \"{}\" has no probes: {}", name->text, why));
  }

 private:
  template <class Map>
  void in(const Value* name, std::string_view kind, const Map& known) {
    if (!name || name->kind != Value::Kind::scalar || known.contains(name->text)) return;
    const auto candidates = names(known);
    diagnostics_.error(name->place,
                       fmt::format("unknown {} {}{}", kind, quote(name->text),
                                   candidates.empty() ? fmt::format(": none is declared (add {}s:)", kind)
                                                      : hint(name->text, candidates)));
  }

  // The key, and with it the value, stands on some host.
  bool label_exists(const Member& label) {
    std::vector<std::string> keys, values;
    for (auto& [name, host] : landscape_.hosts)
      for (auto& [key, value] : host.labels) {
        keys.push_back(key);
        if (key == label.key) values.push_back(value);
      }
    if (std::find(values.begin(), values.end(), label.value.text) != values.end()) return true;
    if (values.empty())
      diagnostics_.error(label.place,
                         fmt::format("no host has a label {}{}", quote(label.key), hint(label.key, keys)));
    else
      diagnostics_.error(label.value.place,
                         fmt::format("no host has the label {}: {}{}", label.key, quote(label.value.text),
                                     hint(label.value.text, values)));
    return false;
  }

  const Landscape& landscape_;
  Diagnostics& diagnostics_;
};

const Value* child(const Value* in, std::string_view key) {
  return in ? in->find(key) : nullptr;
}

// Rules tell which alerts fire; who was notified only Alertmanager and its receivers know.
void check_alert_sources(const Scenario& scenario, Diagnostics& diagnostics) {
  const auto& sources = scenario.landscape.alert_sources;
  const bool notified = std::any_of(sources.begin(), sources.end(), [](auto& source) {
    return source.kind != AlertSourceSpec::Kind::prometheus;
  });
  for (auto& entry : scenario.expect) {
    if (sources.empty() && (entry.alert || entry.other_alerts))
      diagnostics.error(entry.place, "no alert can be seen: no alert_sources are declared");
    else if (entry.reaches && !notified)
      diagnostics.error(
          entry.place,
          "whom an alert reaches cannot be seen: add a webhook or alertmanager to alert_sources");
  }
}

}  // namespace

std::vector<const Value*> entries(const Value* list) {
  std::vector<const Value*> out;
  if (!list) return out;
  if (list->kind != Value::Kind::list) return {list};
  for (auto& item : list->items)
    out.push_back(&item);
  return out;
}

void check_landscape_names(const Value& text, const Landscape& landscape, Diagnostics& diagnostics) {
  Names known{landscape, diagnostics};
  auto* services = text.find("services");
  if (!services) return;
  for (auto& service : services->members) {
    known.squad(service.value.find("squad"));
    for (auto* name : entries(service.value.find("depends_on")))
      known.dependency(name);
    if (!landscape.hosts.empty()) known.labels(service.value.find("runs_on"));
  }
}

void check_scenario_names(const Value& text, const Scenario& scenario, Diagnostics& diagnostics) {
  Names known{scenario.landscape, diagnostics};
  known.squad(text.find("squad"));
  for (auto* step : entries(text.find("method"))) {
    auto* on = step->find("on");
    known.host(child(on, "host"));
    known.service(child(on, "service"));
    known.labels(child(on, "labels"));
  }
  for (auto* entry : entries(text.find("expect"))) {
    known.service(entry->find("service"));
    known.observed(entry->find("service"), "what is expected of it cannot be judged");
    known.squad(entry->find("reaches"));
  }
  for (auto* entry : entries(text.find("halt_when"))) {
    known.service(entry->find("service"));
    known.observed(entry->find("service"), "it could never halt the drill");
  }
  check_alert_sources(scenario, diagnostics);
}

}  // namespace squall
