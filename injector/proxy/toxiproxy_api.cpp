#include "injector/proxy/toxiproxy_api.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

namespace squall::proxy {

namespace json = boost::json;

namespace {

// What the answers to GET /version say, which clients look at.
constexpr const char* spoken_version = "2.12.0";

struct ApiError : std::runtime_error {
  ApiError(int s, const std::string& what) : std::runtime_error(what), status(s) {}
  int status;
};

json::object error_json(const std::string& what, int status) {
  return {{"error", what}, {"status", status}};
}

// Go's http.Error sets this type whatever the body is.
ApiAnswer refusal(const ApiError& error) {
  return {error.status, json::serialize(error_json(error.what(), error.status)) + "\n",
          "text/plain; charset=utf-8"};
}

ApiAnswer ok(const json::value& body, int status = 200) {
  return {status, json::serialize(body)};
}

json::value parse(const std::string& body) {
  json::error_code bad;
  auto out = json::parse(body, bad);
  if (bad) throw ApiError{400, fmt::format("bad request body: {}", bad.message())};
  return out;
}

constexpr std::initializer_list<std::string_view> proxy_fields{"name", "listen", "upstream", "enabled",
                                                               "toxics"};
constexpr std::initializer_list<std::string_view> toxic_fields{"name", "type", "stream", "toxicity",
                                                               "attributes"};

std::string in_lower_case(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// With its names in lower case, as Go reads them in any: of two that are one the last counts. toxiproxy
// passes a name that it does not know over, and its caller believes that it set it; here it is refused.
template <class Names>
json::object with_known_names(const json::object& from, const Names& known) {
  json::object out;
  for (auto& [key, value] : from) {
    const auto name = in_lower_case(key);
    if (std::find(std::begin(known), std::end(known), name) == std::end(known))
      throw ApiError{400, fmt::format("bad request body: unknown field \"{}\", expected one of {}",
                                      std::string_view(key), fmt::join(known, ", "))};
    out.insert_or_assign(name, value);
  }
  return out;
}

json::object parse_object(const std::string& body, std::initializer_list<std::string_view> known) {
  auto out = parse(body);
  if (!out.is_object()) throw ApiError{400, "bad request body: expected an object"};
  return with_known_names(out.as_object(), known);
}

// A member of that type, or nothing where it is missing or null.
std::optional<std::string> text(const json::object& from, const char* key) {
  auto* value = from.if_contains(key);
  if (!value || value->is_null()) return std::nullopt;
  if (!value->is_string()) throw ApiError{400, fmt::format("bad request body: {} is no string", key)};
  return std::string(value->as_string());
}

std::optional<bool> boolean(const json::object& from, const char* key) {
  auto* value = from.if_contains(key);
  if (!value || value->is_null()) return std::nullopt;
  if (!value->is_bool()) throw ApiError{400, fmt::format("bad request body: {} is no boolean", key)};
  return value->as_bool();
}

void read_toxicity(const json::object& from, Toxic& toxic) {
  auto* value = from.if_contains("toxicity");
  if (!value || value->is_null()) return;
  if (!value->is_number()) throw ApiError{400, "bad request body: toxicity is no number"};
  toxic.toxicity = value->to_number<double>();
}

void read_attributes_of(const json::object& from, Toxic& toxic) {
  auto* value = from.if_contains("attributes");
  if (!value || value->is_null()) return;
  if (!value->is_object() ||
      !read_attributes(with_known_names(value->as_object(), attributes_of(toxic.type)), toxic))
    throw ApiError{400, "bad request body: an attribute is no whole number"};
}

json::array toxics_json(const Proxy& proxy) {
  json::array out;
  for (auto& toxic : proxy.toxics())
    out.push_back(to_json(toxic));
  return out;
}

json::object proxy_json(const Proxy& proxy) {
  return {{"name", proxy.plan().name},
          {"listen", proxy.listen()},
          {"upstream", proxy.plan().upstream},
          {"enabled", proxy.enabled()},
          {"toxics", toxics_json(proxy)}};
}

// Of a label in Prometheus' text format, within its quotes.
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::sscanf(std::string(text.substr(i + 1, 2)).c_str(), "%2x", &value) == 1) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string> parts_of(std::string_view target) {
  target = target.substr(0, target.find('?'));
  std::vector<std::string> out;
  while (!target.empty()) {
    target.remove_prefix(1);  // the slash
    const auto end = std::min(target.find('/'), target.size());
    out.push_back(decoded(target.substr(0, end)));
    target.remove_prefix(end);
  }
  return out;
}

void enable(Proxy& proxy) {
  try {
    proxy.enable();
  } catch (const boost::system::system_error& e) {
    throw ApiError{500, fmt::format("listen tcp {}: {}", proxy.listen(), e.code().message())};
  } catch (const std::invalid_argument& e) {
    throw ApiError{500, fmt::format("listen tcp: address {}: {}", proxy.listen(), e.what())};
  }
}

ApiAnswer wrong_method() {
  return {405, "", "text/plain; charset=utf-8"};
}

}  // namespace

ApiAnswer ToxiproxyApi::answer(const ApiRequest& request) {
  // A web page must not reach us by a name that it made to point here.
  if (request.user_agent.starts_with("Mozilla/"))
    return {403, "User agent not allowed\n", "text/plain; charset=utf-8"};
  try {
    return route(request);
  } catch (const ApiError& e) {
    return refusal(e);
  } catch (const std::exception& e) {
    return refusal({500, e.what()});
  }
}

ApiAnswer ToxiproxyApi::route(const ApiRequest& request) {
  const auto parts = parts_of(request.target);
  const bool get = request.method == "GET", post = request.method == "POST";
  if (parts.size() == 1) {
    if (parts[0] == "proxies") return collection(request);
    if (parts[0] == "populate") return post ? populated(request.body) : wrong_method();
    if (parts[0] == "reset") return post ? reset() : wrong_method();
    if (parts[0] == "version" && get)
      return {200, fmt::format("{{\"version\": \"{}\"}}\n", spoken_version),
              "application/json;charset=utf-8"};
    if (parts[0] == "metrics" && get && metrics_)
      return {200, metrics_text(), "text/plain; version=0.0.4; charset=utf-8"};
  }
  if (parts.size() < 2 || parts[0] != "proxies" || parts.size() > 4 ||
      (parts.size() > 2 && parts[2] != "toxics"))
    return {404, "404 page not found\n", "text/plain; charset=utf-8"};
  if (parts.size() == 2) return one_proxy(request, parts[1]);
  const auto found = proxies_.find(parts[1]);
  if (found == proxies_.end()) throw ApiError{404, "proxy not found"};
  return parts.size() == 3 ? toxics(request, *found->second) : one_toxic(request, *found->second, parts[3]);
}

std::unique_ptr<Proxy> ToxiproxyApi::make(const std::string& name, const std::string& listen,
                                          const std::string& upstream) {
  // Each proxy rolls for itself, the same whatever other proxies there are.
  std::uint64_t seed = seed_;
  for (unsigned char c : name)
    seed = (seed ^ c) * 0x100000001b3U;
  return std::make_unique<Proxy>(engine_, ProxyPlan{.name = name,
                                                    .listen = listen.empty() ? "127.0.0.1:0" : listen,
                                                    .upstream = upstream,
                                                    .seed = seed});
}

ApiAnswer ToxiproxyApi::collection(const ApiRequest& request) {
  if (request.method == "GET") {
    json::object out;
    for (auto& [name, proxy] : proxies_)
      out[name] = proxy_json(*proxy);
    return ok(out);
  }
  if (request.method != "POST") return wrong_method();
  const auto with = parse_object(request.body, proxy_fields);
  const auto name = text(with, "name").value_or(""), upstream = text(with, "upstream").value_or("");
  if (name.empty()) throw ApiError{400, "missing required field: name"};
  if (upstream.empty()) throw ApiError{400, "missing required field: upstream"};
  if (proxies_.contains(name)) throw ApiError{409, "proxy already exists"};
  auto proxy = make(name, text(with, "listen").value_or(""), upstream);
  if (boolean(with, "enabled").value_or(true)) enable(*proxy);
  auto& kept = proxies_[name] = std::move(proxy);
  return ok(proxy_json(*kept), 201);
}

ApiAnswer ToxiproxyApi::populated(const std::string& body) {
  const auto given = parse(body);
  if (!given.is_array()) throw ApiError{400, "bad request body: expected an array"};
  std::vector<json::object> wanted;
  for (auto& one : given.as_array()) {
    if (!one.is_object()) throw ApiError{400, "bad request body: expected objects"};
    wanted.push_back(with_known_names(one.as_object(), proxy_fields));
    for (auto* key : {"name", "upstream"})
      if (text(wanted.back(), key).value_or("").empty())
        throw ApiError{400, fmt::format("missing required field: {} at proxy {}", key, wanted.size())};
  }
  json::array done;
  for (auto& o : wanted) {
    const auto name = *text(o, "name"), listen = text(o, "listen").value_or(""),
               upstream = *text(o, "upstream");
    auto& there = proxies_[name];
    if (!there || there->plan().upstream != upstream ||
        (there->plan().listen != listen && there->listen() != listen)) {
      there.reset();  // its address may be the new one's
      there = make(name, listen, upstream);
      try {
        if (boolean(o, "enabled").value_or(true)) enable(*there);
      } catch (const ApiError& e) {
        proxies_.erase(name);
        auto out = error_json(e.what(), e.status);
        out["proxies"] = done;
        return ok(out, e.status);
      }
    }
    done.push_back(proxy_json(*there));
  }
  return ok(json::object{{"proxies", done}}, 201);
}

void ToxiproxyApi::populate(const std::string& body) {
  const auto answer = populated(body);
  if (answer.status != 201) throw std::runtime_error(json::serialize(json::parse(answer.body).at("error")));
}

ApiAnswer ToxiproxyApi::reset() {
  for (auto& [name, proxy] : proxies_) {
    enable(*proxy);
    proxy->set_toxics({});
  }
  return {204, ""};
}

ApiAnswer ToxiproxyApi::one_proxy(const ApiRequest& request, const std::string& name) {
  const auto found = proxies_.find(name);
  if (found == proxies_.end()) throw ApiError{404, "proxy not found"};
  auto& proxy = *found->second;
  if (request.method == "GET") return ok(proxy_json(proxy));
  if (request.method == "DELETE") {
    proxies_.erase(found);
    return {204, ""};
  }
  if (request.method != "POST" && request.method != "PATCH") return wrong_method();
  const auto with = parse_object(request.body, proxy_fields);
  const bool enabled = boolean(with, "enabled").value_or(proxy.enabled());
  const auto listen = text(with, "listen").value_or(proxy.listen()),
             upstream = text(with, "upstream").value_or(proxy.plan().upstream);
  if (upstream != proxy.plan().upstream || (listen != proxy.listen() && listen != proxy.plan().listen)) {
    proxy.disable();
    proxy.change(listen, upstream);
  }
  if (enabled)
    enable(proxy);
  else
    proxy.disable();
  return ok(proxy_json(proxy));
}

ApiAnswer ToxiproxyApi::toxics(const ApiRequest& request, Proxy& proxy) {
  if (request.method == "GET") return ok(toxics_json(proxy));
  if (request.method != "POST") return wrong_method();
  const auto with = parse_object(request.body, toxic_fields);
  Toxic toxic;
  if (!read_stream(text(with, "stream").value_or("downstream"), toxic.stream))
    throw ApiError{400, "stream was invalid, can be either upstream or downstream"};
  const auto type = text(with, "type").value_or("");
  if (!read_type(type, toxic.type)) throw ApiError{400, "invalid toxic type"};
  toxic.name = text(with, "name").value_or("");
  if (toxic.name.empty()) toxic.name = fmt::format("{}_{}", type, name_of(toxic.stream));
  auto all = proxy.toxics();
  if (std::any_of(all.begin(), all.end(), [&](auto& one) { return one.name == toxic.name; }))
    throw ApiError{409, "toxic already exists"};
  read_toxicity(with, toxic);
  read_attributes_of(with, toxic);
  all.push_back(toxic);
  proxy.set_toxics(std::move(all));
  return ok(to_json(toxic));
}

ApiAnswer ToxiproxyApi::one_toxic(const ApiRequest& request, Proxy& proxy, const std::string& name) {
  auto all = proxy.toxics();
  const auto toxic = std::find_if(all.begin(), all.end(), [&](auto& one) { return one.name == name; });
  if (toxic == all.end()) throw ApiError{404, "toxic not found"};
  if (request.method == "GET") return ok(to_json(*toxic));
  if (request.method == "DELETE") {
    all.erase(toxic);
    proxy.set_toxics(std::move(all));
    return {204, ""};
  }
  if (request.method != "POST" && request.method != "PATCH") return wrong_method();
  const auto with = parse_object(request.body, toxic_fields);
  read_toxicity(with, *toxic);
  read_attributes_of(with, *toxic);
  const auto changed = *toxic;
  proxy.set_toxics(std::move(all));
  return ok(to_json(changed));
}

std::string ToxiproxyApi::metrics_text() const {
  std::string out;
  for (auto [what, field] :
       {std::pair{"received", &LinkCounters::received_bytes}, std::pair{"sent", &LinkCounters::sent_bytes}}) {
    out += fmt::format("# TYPE toxiproxy_proxy_{}_bytes_total counter\n", what);
    for (auto& [name, proxy] : proxies_)
      for (const auto seen = proxy->statistics();
           auto [direction, link] : {std::pair{"upstream", &seen.up}, std::pair{"downstream", &seen.down}})
        out += fmt::format(
            "toxiproxy_proxy_{}_bytes_total{{direction=\"{}\",listener=\"{}\",proxy=\"{}\",upstream=\"{}\"}} "
            "{}\n",
            what, direction, escaped(proxy->listen()), escaped(name), escaped(proxy->plan().upstream),
            link->*field);
  }
  return out;
}

}  // namespace squall::proxy
