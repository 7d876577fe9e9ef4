#include "scenarios/model/landscape.hpp"

#include "scenarios/text/text.hpp"

namespace squall {
namespace {

constexpr Duration second{1'000'000'000};
constexpr Duration hour{3600 * second.ns};

using Source = AlertSourceSpec::Kind;

// Exactly one of the mapping's keys is a kind of source, and its value the address.
bool read_source(const Value& value, AlertSourceSpec& source, Diagnostics& diagnostics) {
  const Value* address = nullptr;
  for (auto& member : value.members)
    for (auto& [text, kind] : EnumNames<Source>::names) {
      if (member.key != text) continue;
      if (address) {
        diagnostics.error(member.place,
                          "expected one alert source, got two: write each as an entry of its own");
        return false;
      }
      address = &member.value;
      source.kind = kind;
    }
  if (!address) {
    diagnostics.error(value.place, "expected an alert source, one of prometheus, alertmanager, webhook");
    return false;
  }
  if (!Codec<std::string>::decode(*address, source.address, diagnostics)) return false;
  const auto problem =
      source.kind == Source::webhook ? host_port_problem(source.address) : url_problem(source.address);
  if (!problem.empty()) diagnostics.error(address->place, problem);
  return problem.empty();
}

void check_address(const HostSpec& host, const Value& value, Diagnostics& diagnostics) {
  auto* given = value.find("address");
  if (host.link == HostSpec::Link::local && given)
    diagnostics.error(given->place, "a local host has no address: add link: ssh, or leave the address out");
  if (host.link == HostSpec::Link::ssh && host.address.empty())
    diagnostics.error(value.place,
                      "missing key \"address\": a host by ssh needs one, such as ops@db1.staging");
  if (host.link == HostSpec::Link::ssh &&
      (host.address.starts_with('-') || host.address.find(' ') != std::string::npos))
    diagnostics.error(given->place, fmt::format("expected an ssh destination such as ops@db1.staging, got {}",
                                                quote(host.address)));
  if (host.link == HostSpec::Link::nats)
    diagnostics.error(value.find("link")->place,
                      "hosts by nats are not supported yet, expected local or ssh");
}

void check_addresses(const HostSpec& host, const Value& value, Diagnostics& diagnostics) {
  auto* given = value.find("addresses");
  for (std::size_t i = 0; i < host.addresses.size(); ++i)
    if (const auto problem = address_problem(host.addresses[i]); !problem.empty())
      diagnostics.error(given->kind == Value::Kind::list ? given->items[i].place : given->place, problem);
}

void check_probe_names(const ServiceSpec& service, const Value& value, Diagnostics& diagnostics) {
  auto* probes = value.find("probes");
  if (!probes) return;
  for (std::size_t i = 0; i < service.probes.size(); ++i) {
    const auto& place = probes->kind == Value::Kind::list ? probes->items[i].place : probes->place;
    auto same = [&](const ProbeSpec& other) { return other.name == service.probes[i].name; };
    if (std::find_if(service.probes.begin(), service.probes.begin() + static_cast<std::ptrdiff_t>(i), same) !=
        service.probes.begin() + static_cast<std::ptrdiff_t>(i))
      diagnostics.error(place,
                        fmt::format("duplicate probe \"{}\": give this one a name", service.probes[i].name));
    if (service.probes[i].kind == ProbeSpec::Kind::process && service.probes[i].process.empty() &&
        service.processes.empty())
      diagnostics.error(
          place, "process: true means the service's own processes, and it declares none (add processes:)");
  }
}

}  // namespace

const Object<HostSpec>& Describe<HostSpec>::object() {
  static const auto object =
      Object<HostSpec>("a machine that an injector runs on")
          .optional("link", &HostSpec::link, "how its injector is reached", "local")
          .optional("address", &HostSpec::address, "ssh: user@host; nats: the server's URL")
          .optional("addresses", &HostSpec::addresses,
                    "the IPv4 and IPv6 addresses by which its peers know it, for partitions with a topology",
                    "the address of its ssh destination, where that is one")
          .optional("labels", &HostSpec::labels, "what selectors pick it by")
          .rule(check_address)
          .rule(check_addresses);
  return object;
}

const Object<SquadSpec>& Describe<SquadSpec>::object() {
  static const auto object =
      Object<SquadSpec>("a team that owns services and answers alerts")
          .optional("on_call", &SquadSpec::on_call, "where it is reached")
          .optional("runbooks", &SquadSpec::runbooks, "where its runbooks are")
          .optional("receivers", &SquadSpec::receivers, "the names of its receivers in Alertmanager",
                    "the squad's name, with or without words such as pager or oncall");
  return object;
}

const Object<SloSpec>& Describe<SloSpec>::object() {
  static const auto object =
      Object<SloSpec>("what a service promises; part of the steady state")
          .optional("availability", &SloSpec::availability, "at least this share of probes succeeds")
          .optional("latency_p50", &SloSpec::latency_p50, "half of the probes are answered within this")
          .optional("latency_p90", &SloSpec::latency_p90, "90% of the probes are answered within this")
          .optional("latency_p99", &SloSpec::latency_p99, "99% of the probes are answered within this");
  return object;
}

const Object<ServiceSpec>& Describe<ServiceSpec>::object() {
  static const auto object =
      Object<ServiceSpec>("something people rely on")
          .optional("squad", &ServiceSpec::squad, "who owns it")
          .optional("depends_on", &ServiceSpec::depends_on, "the services it needs")
          .optional("runs_on", &ServiceSpec::runs_on, "labels of the hosts it runs on", "every host")
          .optional("processes", &ServiceSpec::processes, process_target(), "its processes on those hosts")
          .optional("probes", &ServiceSpec::probes, "how it is asked whether it works")
          .optional("slo", &ServiceSpec::slo, "what it promises")
          .rule(check_probe_names);
  return object;
}

const Object<AlertSourceSpec>& Describe<AlertSourceSpec>::object() {
  static const auto object = [] {
    const boost::json::object text{{"type", "string"}};
    boost::json::array one_of;
    for (auto& [name, kind] : EnumNames<Source>::names)
      one_of.push_back({{"required", boost::json::array{boost::json::string(name)}}});
    return Object<AlertSourceSpec>("where alerts can be seen")
        .describe_key("prometheus",
                      {{"type", "string"}, {"description", "URL; its rules' states: pending, firing"}})
        .describe_key("alertmanager",
                      {{"type", "string"}, {"description", "URL; its groups, silences and receivers"}})
        .describe_key("webhook", {{"type", "string"},
                                  {"description", "host:port to listen on; what reached a receiver"}})
        .optional("every", &AlertSourceSpec::every, "how often it is asked", "500ms")
        .between(&AlertSourceSpec::every, Duration{10'000'000}, hour)
        .optional("verify_tls", &AlertSourceSpec::verify_tls,
                  "whether the certificate of an https URL is checked", "true")
        .including(&AlertSourceSpec::access)
        .rest(read_source)
        .keywords({{"oneOf", std::move(one_of)}});
  }();
  return object;
}

const Object<Landscape>& Describe<Landscape>::object() {
  static const auto object =
      Object<Landscape>("what there is: hosts, squads, services, and where alerts can be seen")
          .optional("environment", &Landscape::environment,
                    "an injector whose policy names another one refuses")
          .optional("hosts", &Landscape::hosts, "the machines, by name",
                    "one host \"here\" by the local link")
          .optional("squads", &Landscape::squads, "the teams, by name")
          .optional("services", &Landscape::services, "the services, by name")
          .optional("alert_sources", &Landscape::alert_sources, "where alerts can be seen");
  return object;
}

}  // namespace squall
