#include "injector/host/control_ports.hpp"

#include <charconv>
#include <set>
#include <sstream>

#include <sys/stat.h>

#include <fmt/format.h>

#include "injector/host/listeners.hpp"
#include "injector/host/process.hpp"
#include "injector/host/read_file.hpp"

namespace squall {
namespace {

bool serves_ssh(std::string_view process) { return process == "sshd" || process == "dropbear"; }

}  // namespace

std::optional<SshConnection> ssh_connection_of(std::string_view environment) {
  constexpr std::string_view name = "SSH_CONNECTION=";
  for (std::size_t at = 0; at < environment.size();) {
    const auto entry = environment.substr(at, environment.find('\0', at) - at);
    at += entry.size() + 1;
    if (!entry.starts_with(name)) continue;
    std::istringstream fields{std::string(entry.substr(name.size()))};
    std::string client, server;
    unsigned client_port = 0, server_port = 0;
    if (fields >> client >> client_port >> server >> server_port && server_port > 0 && server_port < 65536) return SshConnection{client, static_cast<std::uint16_t>(server_port)};
  }
  return {};
}

std::vector<SshConnection> ssh_connections() {
  std::vector<SshConnection> out;
  for (auto pid : own_line())
    if (auto connection = ssh_connection_of(read_file(fmt::format("/proc/{}/environ", pid)).value_or(""))) out.push_back(std::move(*connection));
  return out;
}

std::vector<std::uint16_t> control_ports(std::uint64_t network_namespace) {
  std::set<std::uint16_t> out{22};
  for (auto& connection : ssh_connections()) out.insert(connection.port);
  for (auto& folder : entries("/proc")) {
    const auto name = folder.filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size()) continue;
    if (!serves_ssh(trimmed(read_file(folder / "comm").value_or("")))) continue;
    struct stat info {};
    // Where that is hidden from us: spared rather than cut off.
    if (::stat((folder / "ns/net").c_str(), &info) == 0 && info.st_ino != network_namespace) continue;
    for (auto& listener : listeners_of(pid))
      if (!listener.udp) out.insert(listener.port);
  }
  return {out.begin(), out.end()};
}

}  // namespace squall
