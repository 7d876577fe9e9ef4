// By what right an HTTP server is asked: headers, tokens, passwords, certificates. Secrets come from the
// environment or from files when they are needed, so that no file of a drill, no record and no report ever
// holds one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/schema/schema.hpp"

namespace squall {

// A text, or where it is to be had.
struct SecretText {
  std::string text;  // as it is written: nothing secret
  std::string env;   // the name of an environment variable of squall's
  std::string file;  // a file whose first line it is
  bool plain() const { return env.empty() && file.empty(); }
};
// The text itself; the error says what is missing, and never a secret.
tl::expected<std::string, std::string> resolve(const SecretText&);

struct BasicLogin {
  std::string user;
  SecretText password;
};

struct HttpAccess {
  std::map<std::string, SecretText> headers;
  std::optional<SecretText> bearer;
  std::optional<BasicLogin> basic;
  std::string certificate, key,
      ca;  // PEM files: the client's own, and whom it trusts instead of the system's
  // Authorization and the other headers, as lines. Throws std::invalid_argument where a secret cannot be had.
  std::vector<std::string> header_lines() const;
};

template <>
struct Codec<SecretText> {
  static std::string name() { return "text, {env: NAME} or {file: PATH}"; }
  static bool decode(const Value&, SecretText&, Diagnostics&);
  static boost::json::object schema();
};
template <>
struct Describe<BasicLogin> {
  static const Object<BasicLogin>& object();
};
template <>
struct Describe<HttpAccess> {
  static const Object<HttpAccess>& object();
};

}  // namespace squall
