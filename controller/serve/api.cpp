#include "controller/serve/api.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "controller/serve/daemon.hpp"
#include "controller/serve/pages.hpp"

namespace squall::serve {
namespace {

namespace json = boost::json;
using http::ServerAnswer;
using http::ServerRequest;

std::int64_t monotonic_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// %XX and +, as forms write them; nothing where it is none of that.
std::optional<std::string> decoded(std::string_view text, bool form) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && form) {
      out += ' ';
    } else if (text[at] != '%') {
      out += text[at];
    } else {
      if (at + 2 >= text.size() || hex_digit(text[at + 1]) < 0 || hex_digit(text[at + 2]) < 0) return {};
      out += static_cast<char>(hex_digit(text[at + 1]) * 16 + hex_digit(text[at + 2]));
      at += 2;
    }
  }
  return out;
}

std::map<std::string, std::string> form_fields(std::string_view body) {
  std::map<std::string, std::string> out;
  while (!body.empty()) {
    const auto one = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(body.size(), one.size() + 1));
    const auto equals = one.find('=');
    const auto key = decoded(one.substr(0, equals), true);
    const auto value = decoded(equals == one.npos ? "" : one.substr(equals + 1), true);
    if (!key || !value) throw Refusal{400, "the form's body is not written as one"};
    out[*key] = *value;
  }
  return out;
}

std::map<std::string, std::string> json_fields(const std::string& body) {
  json::error_code wrong;
  json::parse_options options;
  options.max_depth = 8;
  const auto parsed = json::parse(body, wrong, {}, options);
  if (wrong || !parsed.is_object()) throw Refusal{400, "expected an object of JSON"};
  std::map<std::string, std::string> out;
  for (auto& [key, value] : parsed.get_object()) {
    if (!value.is_string())
      throw Refusal{400, fmt::format("expected a text for {}", quote(std::string(key)))};
    out[std::string(key)] = value.get_string();
  }
  return out;
}

std::map<std::string, std::string> fields_of(const ServerRequest& request) {
  const auto type = request.header("content-type");
  if (request.body.empty()) return {};
  if (type.starts_with("application/json")) return json_fields(request.body);
  if (type.starts_with("application/x-www-form-urlencoded")) return form_fields(request.body);
  throw Refusal{415, "expected application/json or a form"};
}

std::vector<std::string_view> parts(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto one = path.substr(0, path.find('/'));
    out.push_back(one);
    path.remove_prefix(one.size());
  }
  return out;
}

bool matches(const Route& route, std::string_view path, std::map<std::string, std::string>& named) {
  const auto wanted = parts(route.path), given = parts(path);
  if (wanted.size() != given.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].starts_with('{')) {
      if (wanted[i] != given[i]) return false;
      continue;
    }
    const auto text = decoded(given[i], false);
    if (!text || text->empty() || text->find('/') != text->npos) return false;
    named[std::string(wanted[i].substr(1, wanted[i].size() - 2))] = *text;
  }
  return true;
}

bool wants_page(const ServerRequest& request) {
  return request.header("accept").find("text/html") != std::string::npos;
}

ServerAnswer refused(const ServerRequest& request, const Refusal& why) {
  if (!wants_page(request)) return json_answer(json::object{{"error", why.why}}, why.status);
  return {why.status, error_page(why.status, why.why), "text/html; charset=utf-8"};
}

ServerAnswer log_in(Daemon& daemon, const ServerRequest& request) {
  if (request.method == "GET") return {200, login_page(""), "text/html; charset=utf-8"};
  if (request.method != "POST") throw Refusal{405, "GET or POST"};
  const auto fields = fields_of(request);
  const auto token = fields.find("token");
  const auto cookie = daemon.gate.log_in(request, token == fields.end() ? "" : token->second,
                                         daemon.folder.people, monotonic_s());
  if (cookie.empty())
    return {403, login_page("This token is nobody's, or there were too many wrong ones: wait a minute."),
            "text/html; charset=utf-8"};
  return {
      303,
      "",
      "text/plain",
      {{"Location", "/"},
       {"Set-Cookie", fmt::format("squall={}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200", cookie)}}};
}

ServerAnswer dispatch(Daemon& daemon, const ServerRequest& request, const Person& person,
                      const std::string& path) {
  bool known = false;
  for (auto& route : routes()) {
    std::map<std::string, std::string> named;
    if (!matches(route, path, named)) continue;
    known = true;
    if (route.method != request.method) continue;
    Call call{daemon, request, person, std::move(named), {}};
    if (request.method == "POST") call.fields = fields_of(request);
    auto out = route.handle(call);
    // A form of a page comes back to it.
    if (request.method == "POST" && wants_page(request) && out.status < 300)
      return {303, "", "text/plain", {{"Location", "/"}}};
    return out;
  }
  throw Refusal{known ? 405 : 404,
                known ? "this cannot be done with it" : "there is nothing here by that name"};
}

ServerAnswer answered(Daemon& daemon, const ServerRequest& request) {
  const auto path = request.target.substr(0, request.target.find('?'));
  if (!path.starts_with('/') || path.size() > 2000) throw Refusal{400, "expected a path"};
  const auto admitted = daemon.gate.admit(request, daemon.folder.people, monotonic_s());
  if (admitted.status != 0) throw Refusal{admitted.status, admitted.why};
  if (path == "/healthz") return {200, "ok\n"};
  if (path == "/page.css") return {200, page_css(), "text/css; charset=utf-8"};
  if (path == "/page.js") return {200, std::string(page_js), "text/javascript; charset=utf-8"};
  if (path == "/login") return log_in(daemon, request);
  if (path == "/logout" && request.method == "POST") {
    daemon.gate.log_out(request);
    return {303, "", "text/plain", {{"Location", "/login"}}};
  }
  if (admitted.person.empty()) {
    if (request.method == "GET" && wants_page(request))
      return {303, "", "text/plain", {{"Location", "/login"}}};
    throw Refusal{401, "who asks? A token goes into the header Authorization: Bearer TOKEN"};
  }
  const auto& person = daemon.folder.people.people.at(admitted.person);
  if (person.roles.empty()) throw Refusal{403, "this needs a role"};
  return dispatch(daemon, request, person, path);
}

void harden(ServerAnswer& out) {
  auto add = [&](const char* name, const char* value) {
    if (std::none_of(out.headers.begin(), out.headers.end(), [&](auto& one) { return one.first == name; }))
      out.headers.emplace_back(name, value);
  };
  add("Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
      "form-action "
      "'self'; frame-ancestors 'none'; base-uri 'none'");
  add("X-Content-Type-Options", "nosniff");
  add("X-Frame-Options", "DENY");
  add("Referrer-Policy", "same-origin");
  add("Cross-Origin-Resource-Policy", "same-origin");
  add("Cache-Control", "no-store");
}

}  // namespace

std::string Call::field(const std::string& key) const {
  const auto found = fields.find(key);
  return found == fields.end() ? "" : found->second;
}

ServerAnswer json_answer(const json::value& value, int status) {
  return {status, json::serialize(value) + "\n", "application/json; charset=utf-8"};
}

ServerAnswer answer(Daemon& daemon, const ServerRequest& request) {
  ++daemon.requests;
  ServerAnswer out;
  try {
    out = answered(daemon, request);
  } catch (const Refusal& why) {
    out = refused(request, why);
  } catch (const std::exception& e) {
    spdlog::error("{} {}: {}", request.method, request.target.substr(0, 200), e.what());
    out = refused(request, {500, "this went wrong; the daemon's log says why"});
  }
  harden(out);
  return out;
}

json::object openapi() {
  json::object paths;
  for (auto& route : routes()) {
    if (!route.path.starts_with("/api/")) continue;
    json::object operation{
        {"summary", route.sentence},
        {"responses", json::object{{"200", json::object{{"description", "done"}}},
                                   {"401", json::object{{"description", "no token"}}},
                                   {"403", json::object{{"description", "not allowed"}}}}}};
    json::array parameters;
    for (auto part : parts(route.path))
      if (part.starts_with('{'))
        parameters.push_back(json::object{{"name", part.substr(1, part.size() - 2)},
                                          {"in", "path"},
                                          {"required", true},
                                          {"schema", json::object{{"type", "string"}}}});
    if (!parameters.empty()) operation["parameters"] = std::move(parameters);
    json::object fields;
    for (auto& field : route.fields)
      fields[field] = json::object{{"type", "string"}};
    if (!fields.empty())
      operation["requestBody"] = json::object{
          {"content",
           json::object{{"application/json",
                         json::object{{"schema", json::object{{"type", "object"},
                                                              {"properties", std::move(fields)}}}}}}}};
    auto& path = paths[route.path];
    if (!path.is_object()) path = json::object{};
    path.get_object()[route.method == "GET" ? "get" : "post"] = std::move(operation);
  }
  return {{"openapi", "3.1.0"},
          {"info", json::object{{"title", "Squall"}, {"version", SQUALL_VERSION}}},
          {"security", json::array{json::object{{"bearer", json::array{}}}}},
          {"components",
           json::object{{"securitySchemes",
                         json::object{{"bearer", json::object{{"type", "http"}, {"scheme", "bearer"}}}}}}},
          {"paths", std::move(paths)}};
}

}  // namespace squall::serve
