#include "scenarios/model/landscape.hpp"
#include "scenarios/text/text.hpp"

#include <set>

namespace squall {
namespace {

using Kind = ProbeSpec::Kind;

struct KindDoc {
  Kind kind;
  std::string_view sentence;
  std::vector<std::string_view> keys;  // besides name, every and timeout
};

const std::vector<KindDoc>& kinds() {
  static const std::vector<KindDoc> all{
      {Kind::http,
       "a URL; healthy: an accepted status",
       {"connection", "status", "method", "body", "verify_tls", "send", "headers", "bearer", "basic",
        "certificate", "key", "ca"}},
      {Kind::tcp, "host:port; healthy: a connection is accepted", {"connection"}},
      {Kind::dns, "a name; healthy: it resolves", {"server", "type"}},
      {Kind::redis, "host:port; healthy: PING is answered", {"connection"}},
      {Kind::postgres, "a connection string or URI; healthy: the query is answered", {"connection", "query"}},
      {Kind::command, "a shell command line; healthy: it exits with 0", {}},
      {Kind::process, "keys that select processes, or true for the service's own; healthy: one is alive", {}},
  };
  return all;
}

std::string kind_list() {
  std::string out;
  for (auto& [text, kind] : EnumNames<Kind>::names)
    out += (out.empty() ? "" : ", ") + std::string(text);
  return out;
}

std::string postgres_problem(std::string_view text) {
  if (text.starts_with("postgres://") || text.starts_with("postgresql://") ||
      text.find('=') != std::string_view::npos)
    return "";
  return fmt::format("expected a connection string such as \"host=127.0.0.1 dbname=catalogue\", got {}",
                     quote(text));
}

std::string object_problem(Kind kind, std::string_view text) {
  if (text.empty()) return "expected what to probe, got an empty text";
  switch (kind) {
    case Kind::http:
      return url_problem(text);
    case Kind::tcp:
    case Kind::redis:
      return host_port_problem(text);
    case Kind::postgres:
      return postgres_problem(text);
    case Kind::dns:
      return text.find_first_of(" /:@") == std::string_view::npos
                 ? ""
                 : fmt::format("expected a name to resolve such as playlist.example.org, got {}",
                               quote(text));
    case Kind::command:
    case Kind::process:
      break;
  }
  return "";
}

bool read_process(const Value& value, ProbeSpec& probe, Diagnostics& diagnostics) {
  if (value.kind == Value::Kind::map) return process_target().decode(value, probe.process, diagnostics);
  if (value.kind == Value::Kind::scalar && value.text == "true") return true;
  diagnostics.error(value.place,
                    fmt::format("expected keys that select processes, or true for the service's own, got {}",
                                value.describe()));
  return false;
}

bool read_object(const Value& value, ProbeSpec& probe, Diagnostics& diagnostics) {
  if (probe.kind == Kind::process) return read_process(value, probe, diagnostics);
  if (!Codec<std::string>::decode(value, probe.object, diagnostics)) return false;
  const auto problem = object_problem(probe.kind, probe.object);
  if (!problem.empty()) diagnostics.error(value.place, problem);
  return problem.empty();
}

std::string default_name(const ProbeSpec& probe) {
  std::string object = probe.object;
  if (probe.kind == Kind::http || probe.kind == Kind::postgres) object = without_secrets(object);
  if (probe.kind == Kind::process) object = probe.process.to_string();
  const auto kind = enum_text(probe.kind);
  return object.empty() ? kind : kind + " " + object;
}

// Exactly one of the mapping's keys is a kind, and its value the object.
bool read_kind(const Value& value, ProbeSpec& probe, Diagnostics& diagnostics) {
  const Member* given = nullptr;
  bool ok = true;
  for (auto& member : value.members)
    for (auto& [text, kind] : EnumNames<Kind>::names) {
      if (member.key != text) continue;
      if (given) {
        diagnostics.error(member.place, fmt::format("expected one kind of probe, got both \"{}\" and \"{}\"",
                                                    given->key, text));
        ok = false;
        continue;
      }
      given = &member;
      probe.kind = kind;
    }
  if (!given) {
    diagnostics.error(value.place, fmt::format("expected what to probe, one of {}", kind_list()));
    return false;
  }
  if (!read_object(given->value, probe, diagnostics)) return false;
  if (probe.name.empty()) probe.name = default_name(probe);
  return ok;
}

// A key of another kind has no effect, which its author does not expect.
void check_keys(const ProbeSpec& probe, const Value& value, Diagnostics& diagnostics) {
  auto takes = [](const KindDoc& doc, std::string_view key) {
    return std::find(doc.keys.begin(), doc.keys.end(), key) != doc.keys.end();
  };
  const auto& own =
      *std::find_if(kinds().begin(), kinds().end(), [&](auto& doc) { return doc.kind == probe.kind; });
  std::set<std::string_view> told;
  for (auto& doc : kinds())
    for (auto& key : doc.keys) {
      auto* given = value.find(key);
      if (!given || takes(own, key) || !told.insert(key).second) continue;
      std::string whose;
      for (auto& other : kinds())
        if (takes(other, key)) whose += (whose.empty() ? "" : ", ") + enum_text(other.kind);
      diagnostics.error(given->place, fmt::format("\"{}\" is for {} probes, this is a {} probe", key, whose,
                                                  enum_text(probe.kind)));
    }
}

void check_texts(const ProbeSpec& probe, const Value& value, Diagnostics& diagnostics) {
  auto tell = [&](std::string_view key, const std::string& problem) {
    if (auto* given = value.find(key); given && !problem.empty()) diagnostics.error(given->place, problem);
  };
  tell("body", regex_problem(probe.body));
  if (probe.kind == Kind::tcp && probe.connection == ProbeSpec::Connection::kept)
    tell("connection", "a tcp probe asks whether a connection is accepted: expected new");
  if (!probe.send.empty() && (probe.method == "GET" || probe.method == "HEAD"))
    tell("send", "a body is sent with a method such as POST: add method:");
  tell("server", host_port_problem(probe.server));
  for (int status : probe.status)
    if (status < 100 || status > 599)
      tell("status", fmt::format("expected a status from 100 to 599, got {}", status));
  if (probe.method.empty() ||
      probe.method.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos)
    tell("method", fmt::format("expected a method such as GET or HEAD, got {}", quote(probe.method)));
  static const std::vector<std::string> types{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"};
  if (std::find(types.begin(), types.end(), probe.type) == types.end())
    tell("type", fmt::format("expected a record type such as A or AAAA, got {}", quote(probe.type)));
}

boost::json::object exactly_one_kind() {
  boost::json::array one_of;
  for (auto& [text, kind] : EnumNames<Kind>::names)
    one_of.push_back({{"required", boost::json::array{boost::json::string(text)}}});
  return {{"oneOf", std::move(one_of)}};
}

Object<ProbeSpec> declare() {
  Object<ProbeSpec> object("one way to ask a service whether it works");
  for (auto& doc : kinds()) {
    boost::json::object schema{{"type", "string"}, {"description", doc.sentence}};
    if (doc.kind == Kind::process)
      schema = {{"description", doc.sentence},
                {"anyOf",
                 boost::json::array{process_target().json_schema(), boost::json::object{{"const", true}}}}};
    object.describe_key(enum_text(doc.kind), std::move(schema));
  }
  object.optional("name", &ProbeSpec::name, "what reports call it", "the kind and the object")
      .optional("every", &ProbeSpec::every, "how often it asks", "1s")
      .between(&ProbeSpec::every, Duration{1'000'000}, Duration{3600'000'000'000})
      .optional("timeout", &ProbeSpec::timeout, "an answer that takes longer counts as a failure", "1s")
      .between(&ProbeSpec::timeout, Duration{1'000'000}, Duration{300'000'000'000})
      .optional("connection", &ProbeSpec::connection,
                "http, tcp, redis, postgres: a new connection each time, as a new user would make, or one "
                "that is kept",
                "new")
      .optional("status", &ProbeSpec::status, "http: the accepted status codes", "200 to 399")
      .optional("method", &ProbeSpec::method, "http: the request's method", "GET")
      .optional("body", &ProbeSpec::body,
                "http: regular expression (ECMAScript) the body must match somewhere")
      .optional("query", &ProbeSpec::query, "postgres: the statement", "select 1")
      .optional("server", &ProbeSpec::server, "dns: host:port of the server to ask", "the system's")
      .optional("type", &ProbeSpec::type, "dns: the record type", "A")
      .optional("verify_tls", &ProbeSpec::verify_tls, "http: whether the certificate is checked", "true")
      .optional("send", &ProbeSpec::send, "http: the body of the request")
      .including(&ProbeSpec::access)
      .rest(read_kind)
      .rule(check_keys)
      .rule(check_texts)
      .keywords(exactly_one_kind());
  return object;
}

}  // namespace

const Object<ProbeSpec>& Describe<ProbeSpec>::object() {
  static const auto object = declare();
  return object;
}

}  // namespace squall
