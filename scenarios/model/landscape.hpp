// What there is: hosts, squads, services, and where alerts can be seen. Plain structs between text and
// behaviour.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/model/http_access.hpp"
#include "scenarios/model/selector.hpp"

namespace squall {

struct HostSpec {
  enum class Link { local, ssh, nats } link = Link::local;
  std::string address;                 // of ssh: user@host; of nats: the server's URL
  std::vector<std::string> addresses;  // by which its peers know it; none: that of `address`, where it is one
  std::map<std::string, std::string> labels;
};

struct SquadSpec {
  std::string on_call;
  std::string runbooks;
  std::vector<std::string>
      receivers;  // of Alertmanager's, by name; none: those that are called like the squad
};

// One way to ask a service whether it works. Exactly one of the kinds is given.
struct ProbeSpec {
  enum class Kind { http, tcp, dns, redis, postgres, command, process } kind = Kind::http;
  std::string name;    // as reports call it; made from the kind and the object where it is not given
  std::string object;  // http: URL · tcp, redis: host:port · dns: name · postgres: connection string or URI ·
                       // command: a shell command line, exit code 0 is healthy · process: alive?
  TargetSpec process;  // of process; empty: the service's own `processes`
  Duration every{1'000'000'000};
  Duration timeout{1'000'000'000};
  // Who it stands for: somebody new, whose name is looked up and whose connection is made for each question,
  // or somebody who has one already (http, redis, postgres).
  enum class Connection { fresh, kept } connection = Connection::fresh;
  std::vector<int> status;     // http: accepted codes; none given: 200 to 399
  std::string method = "GET";  // http
  std::string body;            // http: regular expression that the body must match
  std::string query;           // postgres: the statement, "select 1" by default
  std::string server;          // dns: host:port of the server to ask
  std::string type;            // dns: A, AAAA, …
  bool verify_tls = true;      // http
  HttpAccess access;           // http
  std::string send;            // http: the body of the request
};

// What a service promises; part of the steady state.
struct SloSpec {
  std::optional<Percent> availability;                            // at least
  std::optional<Duration> latency_p50, latency_p90, latency_p99;  // at most
};

struct ServiceSpec {
  std::string squad;
  std::vector<std::string> depends_on;
  std::map<std::string, std::string> runs_on;  // labels of hosts; none: every host
  TargetSpec processes;
  std::vector<ProbeSpec> probes;
  SloSpec slo;
};

struct AlertSourceSpec {
  enum class Kind { prometheus, alertmanager, webhook } kind = Kind::prometheus;
  std::string address;          // URL; of webhook: host:port to listen on
  Duration every{500'000'000};  // how often it is asked; a webhook needs none
  HttpAccess access;            // not of a webhook
  bool verify_tls = true;
};

struct Landscape {
  std::string environment;
  std::map<std::string, HostSpec> hosts;  // none given: one host "here" by the local link
  std::map<std::string, SquadSpec> squads;
  std::map<std::string, ServiceSpec> services;
  std::vector<AlertSourceSpec> alert_sources;
};

template <>
struct EnumNames<HostSpec::Link> {
  static constexpr std::array<std::pair<std::string_view, HostSpec::Link>, 3> names{
      {{"local", HostSpec::Link::local}, {"ssh", HostSpec::Link::ssh}, {"nats", HostSpec::Link::nats}}};
};
template <>
struct EnumNames<ProbeSpec::Kind> {
  static constexpr std::array<std::pair<std::string_view, ProbeSpec::Kind>, 7> names{
      {{"http", ProbeSpec::Kind::http},
       {"tcp", ProbeSpec::Kind::tcp},
       {"dns", ProbeSpec::Kind::dns},
       {"redis", ProbeSpec::Kind::redis},
       {"postgres", ProbeSpec::Kind::postgres},
       {"command", ProbeSpec::Kind::command},
       {"process", ProbeSpec::Kind::process}}};
};
template <>
struct EnumNames<ProbeSpec::Connection> {
  static constexpr std::array<std::pair<std::string_view, ProbeSpec::Connection>, 2> names{
      {{"new", ProbeSpec::Connection::fresh}, {"kept", ProbeSpec::Connection::kept}}};
};
template <>
struct EnumNames<AlertSourceSpec::Kind> {
  static constexpr std::array<std::pair<std::string_view, AlertSourceSpec::Kind>, 3> names{
      {{"prometheus", AlertSourceSpec::Kind::prometheus},
       {"alertmanager", AlertSourceSpec::Kind::alertmanager},
       {"webhook", AlertSourceSpec::Kind::webhook}}};
};

template <>
struct Describe<HostSpec> {
  static const Object<HostSpec>& object();
};
template <>
struct Describe<SquadSpec> {
  static const Object<SquadSpec>& object();
};
template <>
struct Describe<ProbeSpec> {
  static const Object<ProbeSpec>& object();
};
template <>
struct Describe<SloSpec> {
  static const Object<SloSpec>& object();
};
template <>
struct Describe<ServiceSpec> {
  static const Object<ServiceSpec>& object();
};
template <>
struct Describe<AlertSourceSpec> {
  static const Object<AlertSourceSpec>& object();
};
template <>
struct Describe<Landscape> {
  static const Object<Landscape>& object();
};

}  // namespace squall
