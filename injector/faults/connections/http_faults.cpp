// http.abort, delay, headers, body and truncate: what happens to single requests, on a proxy in front of
// their server.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "injector/faults/connections/tcp_fault.hpp"
#include "injector/faults/dose/held_dose.hpp"
#include "injector/faults/dose/share_dose.hpp"

namespace squall {

namespace faults {

using proxy::HttpField;
using proxy::HttpRule;
using proxy::ProxyStatistics;

// One structure for all: each fault declares the parameters that it has.
struct HttpFault {
  std::vector<std::string> method, header;
  std::string path;
  Percent share{100};
  HttpRule::Side at = HttpRule::Side::request;
  ConnectionPlace connections;

  unsigned status = 503;
  std::string body, content_type;
  Duration delay, jitter{};
  std::vector<std::string> set, remove;
  Size bytes{};
};

}  // namespace faults

template <>
struct EnumNames<proxy::HttpRule::Side> {
  using S = proxy::HttpRule::Side;
  static constexpr std::array<std::pair<std::string_view, S>, 2> names{
      {{"request", S::request}, {"response", S::response}}};
};

namespace faults {
namespace {

using Act = HttpRule::Act;

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// "Name: value"; nothing where it is none.
std::optional<HttpField> field_of(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || !is_token(std::string_view(text).substr(0, colon))) return {};
  auto value = text.substr(colon + 1);
  if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < ' ' && c != '\t'; }))
    return {};
  value.erase(0, value.find_first_not_of(' '));
  return HttpField{text.substr(0, colon), std::move(value)};
}

void check(const HttpFault& with, const Value& value, Diagnostics& diagnostics) {
  for (auto& method : with.method)
    if (!is_token(method) ||
        std::any_of(method.begin(), method.end(), [](unsigned char c) { return std::islower(c); }))
      diagnostics.error(place_of(value, "method"),
                        fmt::format("expected a method such as GET, got \"{}\"", method));
  for (auto [key, list] : {std::pair{"header", &with.header}, std::pair{"set", &with.set}})
    for (auto& text : *list)
      if (!field_of(text))
        diagnostics.error(place_of(value, key), fmt::format("expected \"Name: value\", got \"{}\"", text));
  // Paths begin with a slash; the target of CONNECT is a host and its port, that of OPTIONS may be a *.
  if (!with.path.empty() && std::string_view("/*?[\\").find(with.path.front()) == std::string_view::npos &&
      (with.path.find(':') == std::string::npos || with.path.find("://") != std::string::npos))
    diagnostics.error(place_of(value, "path"),
                      fmt::format("expected a path such as /api/*, got \"{}\"", with.path));
  auto framing = [&](const char* key, const std::string& name) {
    for (auto* taken : {"Content-Length", "Transfer-Encoding"})
      if (proxy::same_name(name, taken))
        diagnostics.error(place_of(value, key),
                          fmt::format("{} says where a message ends, and cannot be changed", taken));
  };
  for (auto& text : with.set)
    framing("set", field_of(text).value_or(HttpField{}).name);
  for (auto& name : with.remove) {
    if (!is_token(name))
      diagnostics.error(place_of(value, "remove"),
                        fmt::format("expected the name of a header, got \"{}\"", name));
    framing("remove", name);
  }
}

// What all of them begin or end with.
Object<HttpFault> among(Object<HttpFault> own) {
  return std::move(own)
      .optional("method", &HttpFault::method, "only requests with these methods, in capitals", "every method")
      .optional(
          "path", &HttpFault::path,
          "only requests for paths that this glob matches, the query left out: /api/* is all below /api/",
          "every path")
      .optional("header", &HttpFault::header,
                "only requests with these headers, \"Name: value\", the value a glob", "whatever the headers")
      .optional("share", &HttpFault::share, "of the requests that match, rolled for each by the seed", "100%")
      .including(&HttpFault::connections)
      .rule(check);
}

template <Act act>
const Object<HttpFault>& schema();

template <>
const Object<HttpFault>& schema<Act::abort>() {
  static const auto out =
      among(Object<HttpFault>{"requests are answered with an error"}
                .optional("status", &HttpFault::status, "of the answer", "503")
                .between(&HttpFault::status, 200U, 599U)
                .optional("body", &HttpFault::body, "of the answer", "a sentence that says so")
                .optional("content_type", &HttpFault::content_type, "of that body", "text/plain")
                .optional("at", &HttpFault::at,
                          "request: the server never learns of it; response: it has done its work, and its "
                          "answer is lost",
                          "request"));
  return out;
}
template <>
const Object<HttpFault>& schema<Act::delay>() {
  static const auto out =
      among(Object<HttpFault>{"requests, or their answers, arrive later"}
                .required("delay", &HttpFault::delay,
                          "of each one that is hit, and of those behind it on the same connection")
                .between(&HttpFault::delay, Duration{1'000'000}, Duration{600'000'000'000})
                .optional("jitter", &HttpFault::jitter, "so much more or less, uniformly", "0ms")
                .optional("at", &HttpFault::at,
                          "request: the server gets it later; response: its answer comes later", "request"));
  return out;
}
template <>
const Object<HttpFault>& schema<Act::headers>() {
  static const auto out =
      among(Object<HttpFault>{"headers are set and removed"}
                .optional("set", &HttpFault::set,
                          "headers, \"Name: value\", in the place of all of that name", "none")
                .optional("remove", &HttpFault::remove, "names of headers", "none")
                .optional("at", &HttpFault::at, "request: of what the server gets; response: of its answer",
                          "request"))
          .rule([](const HttpFault& with, const Value&, Diagnostics& diagnostics) {
            if (with.set.empty() && with.remove.empty())
              diagnostics.error({}, "expected set, remove, or both");
          });
  return out;
}
template <>
const Object<HttpFault>& schema<Act::body>() {
  static const auto out =
      among(Object<HttpFault>{"bodies are replaced"}
                .required("body", &HttpFault::body, "in the place of the body, where there is one")
                .optional("content_type", &HttpFault::content_type, "of that body", "as it was")
                .optional("at", &HttpFault::at, "request: of what the server gets; response: of its answer",
                          "request"));
  return out;
}
template <>
const Object<HttpFault>& schema<Act::truncate>() {
  static const auto out =
      among(Object<HttpFault>{"messages end too early, and their connections with them"}
                .optional("bytes", &HttpFault::bytes, "of the body that still arrive, as it is on the wire",
                          "0B: the header alone")
                .optional("at", &HttpFault::at,
                          "request: what the server gets ends; response: its answer does", "request"));
  return out;
}

HttpRule rule_of(Act act, const HttpFault& with, double level) {
  HttpRule out;
  out.act = act;
  out.side = with.at;
  out.methods = with.method;
  out.path = with.path;
  for (auto& text : with.header)
    out.headers.push_back(*field_of(text));
  out.share = with.share.fraction() * (act == Act::delay ? 1 : level);
  out.status = with.status;
  out.body = with.body;
  out.content_type = with.content_type;
  if (act == Act::abort) {
    if (out.body.empty()) out.body = "This request was aborted by a fault (squall http.abort).\n";
    if (out.content_type.empty()) out.content_type = "text/plain; charset=utf-8";
  }
  auto part = [&](Duration d) {
    return std::chrono::nanoseconds{
        static_cast<std::int64_t>(std::llround(static_cast<double>(d.ns) * level))};
  };
  out.delay = part(with.delay);
  out.jitter = part(with.jitter);
  for (auto& text : with.set)
    out.set.push_back(*field_of(text));
  out.remove = with.remove;
  out.keep_bytes = static_cast<std::uint64_t>(with.bytes.bytes);
  return out;
}

std::string_view word_for(Act act) {
  switch (act) {
    case Act::abort:
      return "aborted";
    case Act::delay:
      return "delayed";
    case Act::headers:
    case Act::body:
      return "changed";
    case Act::truncate:
      return "truncated";
  }
  return "";
}

Dose judge(Act act, const ProxyStatistics& seen, const HttpFault& with) {
  Dose out;
  auto& http = seen.http;
  if (act == Act::abort) out.prescribed["status"] = with.status;
  if (act == Act::delay) out.prescribed["delay_ms"] = with.delay.milliseconds();
  out.measured["requests"] = http.requests;
  const auto unread = fmt::format(
      "{} connections spoke no HTTP/1 (TLS, HTTP/2): they were passed on as they are", http.other);
  if (http.other) out.measured["connections_unread"] = http.other;
  if (http.strayed) out.measured["connections_read_in_part"] = http.strayed;
  if (!http.requests) out.reason = http.other ? unread : "no request was made: nobody was hit";
  if (http.unanswered) out.measured["requests_without_an_answer"] = http.unanswered;
  judge_share(out, with.share,
              {http.matched, http.rolled, http.done, seen.open + http.unanswered, http.unchanged}, "requests",
              word_for(act));
  if (!http.matched && !http.went_by.empty())
    out.reason = fmt::format("none of the requests matched; what went by: {}", http.went_by);
  if (!http.done && http.unanswered)
    out.reason = fmt::format("of the {} requests that were hit, {} got no answer that could be {}",
                             http.rolled, http.unanswered, word_for(act));
  if (http.other && http.requests && !out.verified) out.reason += "; " + unread;
  if (http.other)
    out.shares.push_back({.of = "connections that carried requests",
                          .met = http.read_on,
                          .passed = http.other,
                          .by = {fmt::format("{} spoke no HTTP/1 (TLS, HTTP/2)", http.other)},
                          .unknown = ""});
  if (out.verified && http.other > http.read_on) {
    out.verified = false;
    out.reason = fmt::format("{} of {} connections went by this fault: they spoke no HTTP/1 (TLS, HTTP/2)",
                             http.other, http.other + http.read_on);
  }
  if (act != Act::delay || !http.done) return out;
  HeldTimes times;
  times.add(with.at == HttpRule::Side::request ? seen.up : seen.down);
  if (with.jitter.ns > 0) out.prescribed["jitter_ms"] = with.jitter.milliseconds();
  if (!times.held.empty()) out.measured["delay_ms"] = rounded(quantile(times.held, 0.5));
  if (with.jitter.ns > 0 && !times.held.empty())
    out.measured["rolled_ms"] = rounded(quantile(times.rolled, 0.5));
  const auto wrong = times.held.empty() ? "none of them was passed on before the fault ended"
                                        : unlike(times, with.delay, with.jitter, "requests");
  if (out.verified) out.reason = wrong;
  out.verified = out.verified && wrong.empty();
  return out;
}

template <Act act>
std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  HttpFault with;
  if (!schema<act>().decode(value, with, diagnostics)) return nullptr;
  TcpEffect effect;
  effect.http = true;
  effect.put = [with](proxy::ProxyThread& proxy, double level) {
    proxy.set_http(std::make_shared<const HttpRule>(rule_of(act, with, level)));
  };
  effect.dose = [with](const ProxyStatistics& seen) { return judge(act, seen, with); };
  effect.limits = {
      "HTTP/1 is read; connections that speak something else (TLS, HTTP/2), end lines with LF alone or have "
      "headers longer than 256 KiB are passed on as they are, and counted"};
  return tcp_fault(std::move(effect), with.connections, on, setting, diagnostics);
}

template <Act act>
FaultType declared(std::string_view name, std::string_view sentence, std::vector<std::string> examples) {
  return {.name = name,
          .sentence = sentence,
          .parameters = &schema<act>(),
          .aims = tcp_aims(),
          .lasting = true,
          .ramps = true,
          .undo =
              "the redirection goes, and what waits goes on at once; requests on connections made meanwhile "
              "pass unchanged until the session ends",
          .examples = std::move(examples),
          .prepare = prepare<act>,
          .doctor = tcp_fault_doctor};
}

}  // namespace

extern const FaultType http_abort, http_delay, http_headers, http_body, http_truncate;
const FaultType http_abort =
    declared<Act::abort>("http.abort", "answers HTTP requests with an error in the server's place",
                         {"status=503 share=20% path=/api/* --on listens_on=8080 --for 1m",
                          "at=response method=POST --on listens_on=8080 --for 30s"});
const FaultType http_delay = declared<Act::delay>("http.delay", "delays HTTP requests or their answers",
                                                  {"delay=2s share=5% --on listens_on=8080 --for 1m"});
const FaultType http_headers =
    declared<Act::headers>("http.headers", "sets and removes HTTP headers",
                           {"remove=Authorization path=/admin/* --on listens_on=8080 --for 30s"});
const FaultType http_body =
    declared<Act::body>("http.body", "replaces the bodies of HTTP requests or answers",
                        {"body={} at=response path=/api/playlist --on listens_on=8080 --for 30s"});
const FaultType http_truncate =
    declared<Act::truncate>("http.truncate", "ends HTTP messages too early",
                            {"bytes=1kB at=response share=10% --on listens_on=8080 --for 30s"});

}  // namespace faults
}  // namespace squall
