#include "injector/system/ssh_servers.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/control_ports.hpp"
#include "injector/system/listeners.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/ssh_starters.hpp"

namespace squall {
namespace {

constexpr off_t largest_server =
    8 << 20;  // of OpenSSH and Dropbear, with much room; larger executables are not looked through

struct Connection {
  std::uint16_t local = 0, remote = 0;
  bool to_this_host = false;  // its peer is a loopback address, or the address of our own end
};

struct Host {
  pid_t pid = 0;
  std::string name;
  std::set<std::uint64_t> sockets;
  bool serves = false;  // is an SSH server
  std::string text() const { return fmt::format("{}[{}]", name, pid); }
};

bool is_name_of_server(std::string_view name) {
  return name == "sshd" || name == "dropbear" || name == "sshd-session" || name == "sshd-auth";
}

// "0100007F:1F90": the address as it stands, and the port.
std::pair<std::string_view, std::uint16_t> end_of(std::string_view text) {
  const auto colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon != std::string_view::npos)
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), port, 16);
  return {text.substr(0, colon), port};
}

// Established connections by their sockets' inodes.
std::map<std::uint64_t, Connection> connections_around(pid_t pid) {
  std::map<std::uint64_t, Connection> out;
  for (auto* table : {"tcp", "tcp6"}) {
    std::ifstream file{fmt::format("/proc/{}/net/{}", pid, table)};
    std::string line, number, local, remote, state, skipped;
    std::uint64_t inode = 0;
    std::getline(file, line);
    while (std::getline(file, line)) {
      if (line.find(" 01 ") == std::string::npos) continue;
      std::istringstream words{line};
      if (!(words >> number >> local >> remote >> state >> skipped >> skipped >> skipped >> skipped >>
            skipped >> inode) ||
          state != "01" || !inode)
        continue;
      const auto [here, port] = end_of(local);
      const auto [there, peer] = end_of(remote);
      out[inode] = {port, peer, here == there || there.ends_with("7F")};
    }
  }
  return out;
}

std::string command_of(pid_t pid) {
  return read_file(fmt::format("/proc/{}/cmdline", pid)).value_or("");
}

// Those in the network namespace, with their sockets.
std::vector<Host> processes_in(std::uint64_t network_namespace) {
  std::vector<Host> out;
  for (auto pid : all_processes()) {
    struct stat info{};
    // Where that is hidden from us: spared rather than cut off.
    if (::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &info) == 0 && info.st_ino != network_namespace)
      continue;
    const auto sockets = sockets_of(pid);
    if (!sockets || sockets->empty()) continue;
    Host one{pid,
             std::string(trimmed(read_file(fmt::format("/proc/{}/comm", pid)).value_or("?"))),
             {sockets->begin(), sockets->end()}};
    if (one.name.starts_with("squall")) continue;
    out.push_back(std::move(one));
  }
  return out;
}

class Search {
 public:
  explicit Search(std::uint64_t network_namespace) : hosts_(processes_in(network_namespace)) {
    if (hosts_.empty()) return;
    for (auto& listener : listeners_around(hosts_.front().pid))
      if (!listener.udp) listening_.emplace(listener.inode, listener.port);
    connections_ = connections_around(hosts_.front().pid);
    for (auto& [inode, port] : listening_)
      ports_.insert(port);
    for (auto& host : hosts_)
      host.serves = is_name_of_server(host.name) ||
                    (speaks_tcp(host) && is_ssh_server(fmt::format("/proc/{}/exe", host.pid)));
  }

  std::map<std::uint16_t, std::string> run() {
    by_listener();
    by_configuration();
    by_connections();
    by_environment();
    // A forward to a forward is found in as many rounds.
    for (std::size_t before = 0; before != out_.size();) {
      before = out_.size();
      by_forwarding();
    }
    return out_;
  }

 private:
  bool speaks_tcp(const Host& host) const {
    return std::any_of(host.sockets.begin(), host.sockets.end(), [&](auto inode) {
      return listening_.contains(inode) || connections_.contains(inode);
    });
  }
  template <class Each>
  void each_listener(Each each) {
    for (auto& host : hosts_)
      for (auto inode : host.sockets)
        if (auto found = listening_.find(inode); found != listening_.end()) each(host, found->second);
  }
  void add(std::uint16_t port, std::string why) { out_.try_emplace(port, std::move(why)); }

  void by_listener() {
    each_listener([&](const Host& host, std::uint16_t port) {
      if (is_name_of_server(host.name))
        out_[port] = "";
      else if (host.serves)
        add(port, fmt::format("{} listens there, and its executable is an SSH server", host.text()));
      else if (starts_ssh(command_of(host.pid)))
        add(port, fmt::format("{} listens there, and its command line starts an SSH server", host.text()));
    });
  }

  void by_configuration() {
    std::optional<std::map<std::uint16_t, std::string>> units, inetd;
    each_listener([&](const Host& host, std::uint16_t port) {
      auto use = [&](auto& known, auto read) {
        if (!known) known = read("");
        if (auto found = known->find(port); found != known->end())
          add(port, fmt::format("{} listens there, and {}", host.text(), found->second));
      };
      if (host.name == "systemd") use(units, ports_of_ssh_sockets);
      if (host.name.find("inetd") != std::string::npos || host.name == "busybox")
        use(inetd, ports_of_ssh_in_inetd);
    });
  }

  void by_connections() {
    for (auto& host : hosts_) {
      if (!host.serves) continue;
      for (auto inode : host.sockets)
        if (auto found = connections_.find(inode);
            found != connections_.end() && ports_.contains(found->second.local))
          add(found->second.local, fmt::format("{} serves a connection there", host.text()));
    }
  }

  // Whoever runs under an SSH_CONNECTION by a port, where one of its ancestors has a socket of that port:
  // nobody can spare a port by setting a variable.
  void by_environment() {
    for (auto pid : all_processes()) {
      const auto connection = ssh_connection_of(read_file(fmt::format("/proc/{}/environ", pid)).value_or(""));
      if (!connection || !ports_.contains(connection->port) || out_.contains(connection->port)) continue;
      if (auto* server = ancestor_with(pid, connection->port))
        add(connection->port, fmt::format("{} serves an SSH connection there", server->text()));
    }
  }

  const Host* ancestor_with(pid_t pid, std::uint16_t port) const {
    for (int depth = 0; pid > 1 && depth < 64; ++depth) {
      const auto stat = read_process_stat(pid);
      pid = stat ? stat->parent : 0;
      const auto host = std::find_if(hosts_.begin(), hosts_.end(), [&](auto& one) { return one.pid == pid; });
      if (host == hosts_.end()) continue;
      for (auto inode : host->sockets)
        if (auto found = connections_.find(inode); found != connections_.end() && found->second.local == port)
          return &*host;
    }
    return nullptr;
  }

  void by_forwarding() {
    each_listener([&](const Host& host, std::uint16_t port) {
      if (host.serves || out_.contains(port)) return;
      for (auto inode : host.sockets)
        if (auto found = connections_.find(inode);
            found != connections_.end() && found->second.to_this_host &&
            (out_.contains(found->second.remote) || found->second.remote == 22))
          add(port, fmt::format("{} listens there, and passes connections on to port {}", host.text(),
                                found->second.remote));
    });
  }

  std::vector<Host> hosts_;
  std::map<std::uint64_t, std::uint16_t> listening_;  // by inode
  std::map<std::uint64_t, Connection> connections_;   // by inode
  std::set<std::uint16_t> ports_;
  std::map<std::uint16_t, std::string> out_;
};

// The texts are written backwards, so that our own executables do not hold them.
bool holds_any(std::string_view text, std::initializer_list<std::string_view> wanted) {
  return std::any_of(wanted.begin(), wanted.end(), [&](auto one) {
    return text.find(std::string(one.rbegin(), one.rend())) != std::string_view::npos;
  });
}

}  // namespace

bool is_ssh_server(const std::string& executable) {
  static std::map<std::tuple<dev_t, ino_t, std::int64_t>, bool> known;
  struct stat info{};
  if (::stat(executable.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > largest_server)
    return false;
  auto [found, fresh] = known.try_emplace({info.st_dev, info.st_ino, info.st_mtim.tv_sec}, false);
  if (!fresh) return found->second;
  const auto text = read_file(executable).value_or("");
  return found->second = holds_any(text, {"_HSSnepO", "raebpord_0.2-HSS"}) &&
                         holds_any(text, {"gifnoc_dhss", "NOITCENNOC_HSS"});
}

std::map<std::uint16_t, std::string> ports_of_ssh_servers(std::uint64_t network_namespace) {
  return Search(network_namespace).run();
}

}  // namespace squall
