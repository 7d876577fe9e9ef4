#include "controller/probes/postgres_connection.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace squall::postgres {
namespace {

std::string value_of(const Parameters& parameters, std::string_view key) {
  for (const auto& [name, value] : parameters)
    if (name == key) return value;
  return "";
}

void set(Parameters& parameters, std::string_view key, std::string value) {
  std::erase_if(parameters, [&](const auto& parameter) { return parameter.first == key; });
  parameters.emplace_back(key, std::move(value));
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// A directory or an abstract name: a Unix socket.
bool is_path(const std::string& host) {
  return host.empty() || host.starts_with('/') || host.starts_with('@');
}

bool is_address(const std::string& host) {
  boost::system::error_code failed;
  boost::asio::ip::make_address(host, failed);
  return !failed;
}

}  // namespace

tl::expected<Parameters, std::string> parse_parameters(const std::string& connection_string) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(connection_string.c_str(), &error), &PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> owned_error(error, &PQfreemem);
  if (!options) return tl::unexpected(short_error(error ? error : "out of memory"));
  Parameters parameters;
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (option->val) parameters.emplace_back(option->keyword, option->val);
  return parameters;
}

bool needs_lookup(const Parameters& parameters) {
  if (!value_of(parameters, "hostaddr").empty()) return false;
  const auto hosts = split(value_of(parameters, "host"));
  return std::any_of(hosts.begin(), hosts.end(),
                     [](const auto& host) { return !is_path(host) && !is_address(host); });
}

tl::expected<Parameters, std::string> with_addresses(
    const Parameters& parameters, const std::function<Addresses(const std::string&)>& find) {
  const auto hosts = split(value_of(parameters, "host"));
  const auto ports = split(value_of(parameters, "port"));
  std::vector<std::string> all_hosts, all_addresses, all_ports;
  const auto add = [&](std::size_t i, const std::string& address) {
    all_hosts.push_back(hosts[i]);
    all_addresses.push_back(address);
    all_ports.push_back(ports.size() == hosts.size() ? ports[i] : ports[0]);
  };
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (is_path(hosts[i])) {
      add(i, "");
      continue;
    }
    const Addresses found = find(hosts[i]);
    if (!found) return tl::unexpected(found.error());
    for (const auto& address : *found)
      add(i, address.to_string());
  }
  Parameters result = parameters;
  set(result, "host", fmt::format("{}", fmt::join(all_hosts, ",")));
  set(result, "hostaddr", fmt::format("{}", fmt::join(all_addresses, ",")));
  set(result, "port", fmt::format("{}", fmt::join(all_ports, ",")));
  return result;
}

Connection start(const Parameters& parameters) {
  std::vector<const char*> keys = {"fallback_application_name"}, values = {"squall"};
  for (const auto& [key, value] : parameters) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  Connection connection(PQconnectStartParams(keys.data(), values.data(), 0));
  // Notices would be written to standard error.
  if (connection) PQsetNoticeProcessor(connection.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

std::string short_error(const char* message) {
  std::string text = message;
  text = text.substr(0, text.find('\n'));
  if (const auto failed = text.find(" failed: "); failed != text.npos) text = text.substr(failed + 9);
  for (const std::string_view severity : {"FATAL:", "ERROR:", "PANIC:"}) {
    if (!text.starts_with(severity)) continue;
    text = text.substr(severity.size());
    text.erase(0, text.find_first_not_of(' '));
  }
  if (text.empty()) return "connection lost";
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace squall::postgres
