#include "scenarios/landscape.hpp"

#include <array>
#include <regex>

namespace squall {

template <>
struct EnumNames<HostSpec::Link> {
  static constexpr std::array<std::pair<std::string_view, HostSpec::Link>, 3> names{
      {{"local", HostSpec::Link::local}, {"ssh", HostSpec::Link::ssh}, {"nats", HostSpec::Link::nats}}};
};

namespace {

struct ProbeKind {
  std::string_view key;
  ProbeSpec::Kind kind;
  std::string_view sentence;
};

constexpr std::array probe_kinds{
    ProbeKind{"http", ProbeSpec::Kind::http, "an HTTP or HTTPS request to this URL"},
    ProbeKind{"tcp", ProbeSpec::Kind::tcp, "a TCP connection to this host:port"},
    ProbeKind{"dns", ProbeSpec::Kind::dns, "a DNS query for this name"},
    ProbeKind{"redis", ProbeSpec::Kind::redis, "a PING to the Redis at this host:port"},
    ProbeKind{"postgres", ProbeSpec::Kind::postgres, "a query to the PostgreSQL of this connection string or URI"},
    ProbeKind{"command", ProbeSpec::Kind::command, "a shell command line; exit code 0 is healthy"},
    ProbeKind{"process", ProbeSpec::Kind::process, "a process is alive: true for the service's own, or a target"},
};

constexpr std::array alert_kinds{
    std::pair{std::string_view{"prometheus"}, AlertSourceSpec::Kind::prometheus},
    std::pair{std::string_view{"alertmanager"}, AlertSourceSpec::Kind::alertmanager},
    std::pair{std::string_view{"webhook"}, AlertSourceSpec::Kind::webhook},
};

bool is_url(const std::string& text) {
  static const std::regex form{R"(https?://[^\s/?#]+([/?#]\S*)?)", std::regex::icase};
  return std::regex_match(text, form);
}

bool is_host_and_port(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size() || text.size() - colon > 6) return false;
  int port = 0;
  for (auto c : text.substr(colon + 1)) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + (c - '0');
  }
  return port <= 65535 && text.find(' ') == std::string::npos;
}

void expect_url(const std::string& text, Place place, Diagnostics& diagnostics) {
  if (!is_url(text)) diagnostics.error(place, fmt::format("expected a URL such as http://127.0.0.1:8080/healthz, got \"{}\"", text));
}

void expect_host_and_port(const std::string& text, Place place, Diagnostics& diagnostics) {
  if (!is_host_and_port(text)) diagnostics.error(place, fmt::format("expected host:port such as 127.0.0.1:6379, got \"{}\"", text));
}

bool decode_probe_kind(const Value& in, ProbeSpec& out, Diagnostics& diagnostics) {
  const Member* given = nullptr;
  for (auto& member : in.members)
    for (auto& kind : probe_kinds) {
      if (member.key != kind.key) continue;
      if (given) {
        diagnostics.error(member.place, fmt::format("expected one kind of probe, got both \"{}\" and \"{}\"", given->key, member.key));
        return false;
      }
      given = &member;
      out.kind = kind.kind;
    }
  if (!given) {
    std::string kinds;
    for (auto& kind : probe_kinds) kinds += (kinds.empty() ? "" : ", ") + std::string(kind.key);
    diagnostics.error(in.place, fmt::format("expected a kind of probe, one of {}", kinds));
    return false;
  }
  if (out.kind == ProbeSpec::Kind::process && given->value.kind == Value::Kind::map)
    return Codec<TargetSpec>::decode(given->value, out.process, diagnostics);
  if (!Codec<std::string>::decode(given->value, out.object, diagnostics)) return false;
  if (out.kind == ProbeSpec::Kind::process && out.object != "true")
    diagnostics.error(given->value.place, fmt::format("expected true or a target such as {{exe: redis-server}}, got \"{}\"", out.object));
  if (out.kind == ProbeSpec::Kind::http) expect_url(out.object, given->value.place, diagnostics);
  if (out.kind == ProbeSpec::Kind::tcp || out.kind == ProbeSpec::Kind::redis)
    expect_host_and_port(out.object, given->value.place, diagnostics);
  if (out.object.empty()) diagnostics.error(given->value.place, fmt::format("expected something to probe after \"{}\", got nothing", given->key));
  if (out.name.empty())
    out.name = out.kind == ProbeSpec::Kind::process ? "process" : fmt::format("{} {}", given->key, out.object);
  return true;
}

void check_probe(const ProbeSpec& probe, const Value& in, Diagnostics& diagnostics) {
  if (!probe.body.empty()) try {
      std::regex{probe.body, std::regex::ECMAScript};
    } catch (const std::regex_error& e) {
      diagnostics.error(in.find("body")->place, fmt::format("expected a regular expression, got \"{}\": {}", probe.body, e.what()));
    }
  for (auto code : probe.status)
    if (code < 100 || code > 599)
      diagnostics.error(in.find("status")->place, fmt::format("expected an HTTP status from 100 to 599, got {}", code));
  auto only_for = [&](const char* key, ProbeSpec::Kind kind, const char* of) {
    if (auto* given = in.find(key); given && probe.kind != kind)
      diagnostics.error(given->place, fmt::format("\"{}\" belongs to {} probes", key, of));
  };
  for (auto* key : {"status", "method", "body", "verify_tls"}) only_for(key, ProbeSpec::Kind::http, "http");
  only_for("query", ProbeSpec::Kind::postgres, "postgres");
  only_for("server", ProbeSpec::Kind::dns, "dns");
  only_for("type", ProbeSpec::Kind::dns, "dns");
}

}  // namespace

const Object<HostSpec>& Describe<HostSpec>::object() {
  static const auto schema =
      Object<HostSpec>{"a host and how its injector is reached"}
          .optional("link", &HostSpec::link, "local: this machine; ssh: the user's own ssh; nats: a fleet's bus", "local")
          .optional("address", &HostSpec::address, "of ssh: user@host; of nats: the server's URL")
          .optional("labels", &HostSpec::labels, "what selectors match, such as {role: storage}")
          .rule([](const HostSpec& host, const Value& in, Diagnostics& diagnostics) {
            if (host.link == HostSpec::Link::nats)
              diagnostics.error(in.find("link")->place, "the nats link is not part of this version; expected local or ssh");
            if (host.link == HostSpec::Link::ssh && host.address.empty())
              diagnostics.error(in.place, "missing key \"address\": an ssh link needs user@host");
            if (host.address.starts_with("-"))
              diagnostics.error(in.find("address")->place, fmt::format("expected user@host, got \"{}\"", host.address));
          });
  return schema;
}

const Object<SquadSpec>& Describe<SquadSpec>::object() {
  static const auto schema = Object<SquadSpec>{"a small team that operates what it builds"}
                                 .optional("on_call", &SquadSpec::on_call, "where its pager rings")
                                 .optional("runbooks", &SquadSpec::runbooks, "where its runbooks are");
  return schema;
}

const Object<ProbeSpec>& Describe<ProbeSpec>::object() {
  static const auto schema = [] {
    Object<ProbeSpec> object{"one way to ask a service whether it works"};
    object.optional("name", &ProbeSpec::name, "as reports call it", "its kind and object")
        .optional("every", &ProbeSpec::every, "how often it is asked", "1s")
        .between(&ProbeSpec::every, Duration{1'000'000}, Duration{3'600'000'000'000})
        .optional("timeout", &ProbeSpec::timeout, "when it is taken as failed", "1s")
        .between(&ProbeSpec::timeout, Duration{1'000'000}, Duration{300'000'000'000})
        .optional("status", &ProbeSpec::status, "http: the accepted status codes", "200 to 399")
        .optional("method", &ProbeSpec::method, "http: the method", "GET")
        .optional("body", &ProbeSpec::body, "http: a regular expression the body must match")
        .optional("verify_tls", &ProbeSpec::verify_tls, "http: whether the certificate is checked", "true")
        .optional("query", &ProbeSpec::query, "postgres: the statement", "select 1")
        .optional("server", &ProbeSpec::server, "dns: host:port of the server to ask", "the system's first")
        .optional("type", &ProbeSpec::type, "dns: the record type", "A");
    for (auto& kind : probe_kinds)
      object.describe_key(std::string(kind.key), boost::json::object{{"description", kind.sentence}});
    object.rest(decode_probe_kind).rule(check_probe);
    return object;
  }();
  return schema;
}

const Object<SloSpec>& Describe<SloSpec>::object() {
  static const auto schema =
      Object<SloSpec>{"what a service promises; part of the steady state"}
          .optional("availability", &SloSpec::availability, "at least this share of probes succeeds")
          .optional("latency_p50", &SloSpec::latency_p50, "half of the probes are answered within this")
          .optional("latency_p90", &SloSpec::latency_p90, "90% of the probes are answered within this")
          .optional("latency_p99", &SloSpec::latency_p99, "99% of the probes are answered within this");
  return schema;
}

const Object<ServiceSpec>& Describe<ServiceSpec>::object() {
  static const auto schema =
      Object<ServiceSpec>{"a service, who owns it, and how one asks it whether it works"}
          .optional("squad", &ServiceSpec::squad, "who owns it")
          .optional("depends_on", &ServiceSpec::depends_on, "services or squads it needs")
          .optional("runs_on", &ServiceSpec::runs_on, "labels of the hosts it runs on", "every host")
          .optional("processes", &ServiceSpec::processes, "its processes on a host")
          .optional("probes", &ServiceSpec::probes, "how it is asked")
          .optional("slo", &ServiceSpec::slo, "what it promises");
  return schema;
}

const Object<AlertSourceSpec>& Describe<AlertSourceSpec>::object() {
  static const auto schema = [] {
    Object<AlertSourceSpec> object{"where alerts can be seen"};
    object.optional("every", &AlertSourceSpec::every, "how often it is asked", "500ms")
        .between(&AlertSourceSpec::every, Duration{50'000'000}, Duration{60'000'000'000})
        .describe_key("prometheus", boost::json::object{{"type", "string"}, {"description", "a Prometheus: rule states"}})
        .describe_key("alertmanager", boost::json::object{{"type", "string"}, {"description", "an Alertmanager: groups, receivers, silences"}})
        .describe_key("webhook", boost::json::object{{"type", "string"}, {"description", "host:port where Squall itself receives notifications"}});
    object.rest([](const Value& in, AlertSourceSpec& out, Diagnostics& diagnostics) {
      int given = 0;
      for (auto& member : in.members)
        for (auto& [key, kind] : alert_kinds) {
          if (member.key != key) continue;
          ++given;
          out.kind = kind;
          if (!Codec<std::string>::decode(member.value, out.address, diagnostics)) return false;
          if (kind == AlertSourceSpec::Kind::webhook)
            expect_host_and_port(out.address, member.value.place, diagnostics);
          else
            expect_url(out.address, member.value.place, diagnostics);
        }
      if (given != 1) diagnostics.error(in.place, "expected one of prometheus, alertmanager, webhook");
      return given == 1;
    });
    return object;
  }();
  return schema;
}

const Object<Landscape>& Describe<Landscape>::object() {
  static const auto schema =
      Object<Landscape>{"what there is: hosts, squads, services, and where alerts can be seen"}
          .optional("environment", &Landscape::environment, "an injector whose policy names another one refuses")
          .optional("hosts", &Landscape::hosts, "the hosts by name", "one host \"here\", this machine")
          .optional("squads", &Landscape::squads, "the squads by name")
          .optional("services", &Landscape::services, "the services by name")
          .optional("alert_sources", &Landscape::alert_sources, "where alerts can be seen");
  return schema;
}

}  // namespace squall
