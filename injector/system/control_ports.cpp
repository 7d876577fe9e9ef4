#include "injector/system/control_ports.hpp"

#include <map>
#include <sstream>

#include <fmt/format.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/ssh_servers.hpp"

namespace squall {

std::optional<SshConnection> ssh_connection_of(std::string_view environment) {
  constexpr std::string_view name = "SSH_CONNECTION=";
  for (std::size_t at = 0; at < environment.size();) {
    const auto entry = environment.substr(at, environment.find('\0', at) - at);
    at += entry.size() + 1;
    if (!entry.starts_with(name)) continue;
    std::istringstream fields{std::string(entry.substr(name.size()))};
    std::string client, server;
    unsigned client_port = 0, server_port = 0;
    if (fields >> client >> client_port >> server >> server_port && server_port > 0 && server_port < 65536)
      return SshConnection{client, static_cast<std::uint16_t>(server_port)};
  }
  return {};
}

std::vector<SshConnection> ssh_connections() {
  std::vector<SshConnection> out;
  for (auto pid : own_line())
    if (auto connection = ssh_connection_of(read_file(fmt::format("/proc/{}/environ", pid)).value_or("")))
      out.push_back(std::move(*connection));
  return out;
}

std::vector<ControlPort> control_ports(std::uint64_t network_namespace) {
  std::map<std::uint16_t, std::string> out{{22, ""}};
  for (auto& connection : ssh_connections())
    out.emplace(connection.port, "");
  out.merge(ports_of_ssh_servers(network_namespace));
  std::vector<ControlPort> list;
  for (auto& [port, why] : out)
    list.push_back({port, why});
  return list;
}

}  // namespace squall
