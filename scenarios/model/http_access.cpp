#include "scenarios/model/http_access.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::string_view elsewhere =
    "{env: NAME} or {file: PATH}, so that the secret stays out of files, record and reports";

std::string lower(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Headers whose values are credentials by their names.
bool is_secret(const std::string& header) {
  const auto name = lower(header);
  for (const std::string_view word :
       {"authorization", "cookie", "token", "secret", "password", "api-key", "apikey"})
    if (name.find(word) != std::string::npos) return true;
  return false;
}

std::string base64(const std::string& text) {
  static constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j > text.size() ? '=' : letters[bits >> (18 - 6 * j) & 63];
  }
  return out;
}

std::string needed(const SecretText& secret, std::string_view what) {
  auto text = resolve(secret);
  if (!text) throw std::invalid_argument(fmt::format("{}: {}", what, text.error()));
  return *text;
}

void check_access(const HttpAccess& access, const Value& value, Diagnostics& diagnostics) {
  if (access.bearer && access.basic)
    diagnostics.error(value.find("basic")->place, "expected one of bearer and basic, got both");
  if (access.bearer && access.bearer->plain())
    diagnostics.error(value.find("bearer")->place, fmt::format("expected {}", elsewhere));
  if (access.key.empty() != access.certificate.empty())
    diagnostics.error(value.find(access.key.empty() ? "certificate" : "key")->place,
                      "expected certificate and key together");
  for (auto& [name, text] : access.headers) {
    const auto& place = value.find("headers")->place;
    if (name.empty() || name.find_first_of(" :\r\n") != std::string::npos)
      diagnostics.error(place, fmt::format("expected the name of a header, got {}", quote(name)));
    if (text.text.find_first_of("\r\n") != std::string::npos)
      diagnostics.error(place, fmt::format("expected one line for {}", quote(name)));
    if (text.plain() && is_secret(name))
      diagnostics.error(place, fmt::format("{}: expected {}", name, elsewhere));
  }
}

}  // namespace

tl::expected<std::string, std::string> resolve(const SecretText& secret) {
  if (secret.plain()) return secret.text;
  std::string out;
  if (!secret.env.empty()) {
    const char* value = std::getenv(secret.env.c_str());
    if (!value || !*value)
      return tl::unexpected(fmt::format("the environment variable {} is not set", secret.env));
    out = value;
  } else {
    std::ifstream file(secret.file);
    if (!file || !std::getline(file, out))
      return tl::unexpected(fmt::format("the file \"{}\" cannot be read, or is empty", secret.file));
  }
  while (!out.empty() && std::isspace(static_cast<unsigned char>(out.back())))
    out.pop_back();
  if (out.find_first_of("\r\n") != std::string::npos) return tl::unexpected(std::string("expected one line"));
  return out;
}

std::vector<std::string> HttpAccess::header_lines() const {
  std::vector<std::string> out;
  for (auto& [name, text] : headers)
    out.push_back(fmt::format("{}: {}", name, needed(text, name)));
  if (bearer) out.push_back("Authorization: Bearer " + needed(*bearer, "bearer"));
  if (basic)
    out.push_back("Authorization: Basic " + base64(basic->user + ":" + needed(basic->password, "password")));
  return out;
}

bool Codec<SecretText>::decode(const Value& value, SecretText& out, Diagnostics& diagnostics) {
  if (value.kind != Value::Kind::map) return Codec<std::string>::decode(value, out.text, diagnostics);
  const auto* env = value.find("env");
  const auto* file = value.find("file");
  if (value.members.size() != 1 || (!env && !file)) {
    diagnostics.error(value.place, "expected a text, {env: NAME} or {file: PATH}");
    return false;
  }
  if (!Codec<std::string>::decode(env ? *env : *file, env ? out.env : out.file, diagnostics)) return false;
  if (out.plain()) diagnostics.error(value.place, "expected a name, got an empty text");
  return !out.plain();
}

boost::json::object Codec<SecretText>::schema() {
  auto one = [](const char* key) {
    return boost::json::object{{"type", "object"},
                               {"properties", {{key, {{"type", "string"}}}}},
                               {"required", boost::json::array{key}},
                               {"additionalProperties", false}};
  };
  return {{"anyOf", boost::json::array{Codec<std::string>::schema(), one("env"), one("file")}}};
}

const Object<BasicLogin>& Describe<BasicLogin>::object() {
  static const auto object =
      Object<BasicLogin>("a user and a password")
          .required("user", &BasicLogin::user, "the user's name")
          .required("password", &BasicLogin::password, "{env: NAME} or {file: PATH}")
          .rule([](const BasicLogin& login, const Value& value, Diagnostics& diagnostics) {
            if (login.password.plain())
              diagnostics.error(value.find("password")->place, fmt::format("expected {}", elsewhere));
          });
  return object;
}

const Object<HttpAccess>& Describe<HttpAccess>::object() {
  static const auto object =
      Object<HttpAccess>("by what right an HTTP server is asked")
          .optional("headers", &HttpAccess::headers,
                    "http: headers of the request; a value may be {env: NAME} or {file: PATH}")
          .optional("bearer", &HttpAccess::bearer, "http: a bearer token, {env: NAME} or {file: PATH}")
          .optional("basic", &HttpAccess::basic, "http: basic authentication")
          .optional("certificate", &HttpAccess::certificate, "https: the client's certificate, a PEM file")
          .optional("key", &HttpAccess::key, "https: the key of that certificate, a PEM file")
          .optional("ca", &HttpAccess::ca, "https: whom to trust, a PEM file", "the system's authorities")
          .rule(check_access);
  return object;
}

}  // namespace squall
