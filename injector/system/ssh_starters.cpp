#include "injector/system/ssh_starters.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>
#include <vector>

#include <arpa/inet.h>
#include <netdb.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall {
namespace {

constexpr std::array unit_folders{"/etc/systemd/system",         "/run/systemd/system",
                                  "/run/systemd/generator",      "/run/systemd/generator.early",
                                  "/run/systemd/generator.late", "/usr/local/lib/systemd/system",
                                  "/usr/lib/systemd/system",     "/lib/systemd/system"};

std::optional<std::uint16_t> number(std::string_view text) {
  std::uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() && port ? std::optional(port)
                                                                                     : std::nullopt;
}

// "22", "0.0.0.0:22", "[::]:22"; nothing for paths and others.
std::optional<std::uint16_t> port_of(std::string_view address) {
  if (address.starts_with('/') || address.starts_with('@') || address.starts_with("vsock:"))
    return std::nullopt;
  return number(address.substr(address.rfind(':') + 1));
}

// "key = value" of each line that is no comment.
std::vector<std::pair<std::string, std::string>> assignments(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    const auto shown = trimmed(line);
    const auto equals = shown.find('=');
    if (shown.starts_with('#') || shown.starts_with(';') || equals == std::string_view::npos) continue;
    out.emplace_back(trimmed(shown.substr(0, equals)), trimmed(shown.substr(equals + 1)));
  }
  return out;
}

// A unit's own text with that of its drop-ins, from wherever they lie.
std::string unit_text(const std::string& root, const std::string& unit) {
  std::string out;
  for (auto* folder : unit_folders) {
    out += read_file(root + folder + "/" + unit).value_or("") + "\n";
    for (auto& piece : entries(root + folder + "/" + unit + ".d"))
      if (piece.extension() == ".conf") out += read_file(piece).value_or("") + "\n";
  }
  return out;
}

std::string started_by(const std::string& root, const std::string& unit) {
  for (auto& [key, value] : assignments(unit_text(root, unit)))
    if (key == "ExecStart" && starts_ssh(value)) return value;
  return "";
}

void add_socket(const std::string& root, const std::string& unit, std::map<std::uint16_t, std::string>& out) {
  const auto name = unit.substr(0, unit.rfind('.'));
  std::vector<std::uint16_t> ports;
  std::string service = name + ".service";
  for (auto& [key, value] : assignments(unit_text(root, unit))) {
    if (key == "ListenStream")
      if (auto port = port_of(value)) ports.push_back(*port);
    if (key == "Accept" && (value == "yes" || value == "true" || value == "1" || value == "on"))
      service = name + "@.service";
    if (key == "Service") service = value;
  }
  if (ports.empty()) return;
  const auto command = started_by(root, service);
  if (command.empty()) return;
  for (auto port : ports)
    out[port] = fmt::format("{} starts {}", unit, command.substr(0, command.find(' ')));
}

std::optional<std::uint16_t> port_of_service(const std::string& name) {
  if (auto port = port_of(name)) return port;
  const auto* entry = ::getservbyname(name.c_str(), "tcp");
  return entry ? std::optional(ntohs(static_cast<std::uint16_t>(entry->s_port))) : std::nullopt;
}

// "ssh stream tcp nowait root /usr/sbin/sshd sshd -i"
void add_inetd(const std::string& file, std::map<std::uint16_t, std::string>& out) {
  std::istringstream lines{read_file(file).value_or("")};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string service;
    if (!(words >> service) || service.starts_with('#') || !starts_ssh(line)) continue;
    if (auto port = port_of_service(service))
      out[*port] = fmt::format("{} starts an SSH server for it", file);
  }
}

// "service ssh { port = 2222 \n server = /usr/sbin/sshd … }"
void add_xinetd(const std::string& file, std::map<std::uint16_t, std::string>& out) {
  const auto text = read_file(file).value_or("");
  for (std::size_t at = text.find("service "); at != std::string::npos; at = text.find("service ", at + 1)) {
    const auto open = text.find('{', at), close = text.find('}', at);
    if (open == std::string::npos || close == std::string::npos || close < open) return;
    std::string service{trimmed(std::string_view(text).substr(at + 8, open - at - 8))}, port;
    bool ssh = false, off = false;
    for (auto& [key, value] : assignments(text.substr(open + 1, close - open - 1))) {
      ssh = ssh || ((key == "server" || key == "server_args") && starts_ssh(value));
      off = off || (key == "disable" && value == "yes");
      if (key == "port") port = value;
    }
    if (auto found = ssh && !off ? port_of_service(port.empty() ? service : port) : std::nullopt)
      out[*found] = fmt::format("{} starts an SSH server for it", file);
  }
}

}  // namespace

bool starts_ssh(std::string_view command) {
  while (!command.empty()) {
    const auto end = std::min(command.find_first_of(std::string_view(" \t\0\"'", 5)), command.size());
    auto word = command.substr(0, end);
    word.remove_prefix(std::min(word.find_first_not_of("-+@!:"), word.size()));  // prefixes of ExecStart
    word.remove_prefix(word.rfind('/') == std::string_view::npos ? 0 : word.rfind('/') + 1);
    if (word == "sshd" || word == "dropbear") return true;
    command.remove_prefix(std::min(end + 1, command.size()));
  }
  return false;
}

std::map<std::uint16_t, std::string> ports_of_ssh_sockets(const std::string& root) {
  std::map<std::uint16_t, std::string> out;
  for (auto* folder : unit_folders)
    for (auto& file : entries(root + folder)) {
      auto unit = file.filename().string();
      if (unit.ends_with(".d"))
        unit.resize(unit.size() - 2);  // a drop-in alone, of a unit that lies elsewhere
      if (unit.ends_with(".socket")) add_socket(root, unit, out);
    }
  return out;
}

std::map<std::uint16_t, std::string> ports_of_ssh_in_inetd(const std::string& root) {
  std::map<std::uint16_t, std::string> out;
  add_inetd(root + "/etc/inetd.conf", out);
  for (auto& file : entries(root + "/etc/inetd.d"))
    add_inetd(file, out);
  add_xinetd(root + "/etc/xinetd.conf", out);
  for (auto& file : entries(root + "/etc/xinetd.d"))
    add_xinetd(file, out);
  return out;
}

}  // namespace squall
