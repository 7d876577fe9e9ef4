#include "injector/host/connections/connection_tracking.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall {
namespace {

std::optional<std::uint64_t> number_in(const char* file) {
  const auto text = read_file(file);
  return text ? std::optional<std::uint64_t>(std::strtoull(text->c_str(), nullptr, 10)) : std::nullopt;
}

// The sum of a value in the lines that begin so: "TCP: inuse 5 orphan 0 tw 3 …".
std::uint64_t sockets(const char* file, std::string_view value) {
  std::istringstream lines{read_file(file).value_or("")};
  std::uint64_t out = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("TCP") && !line.starts_with("UDP")) continue;
    std::istringstream words{line.substr(line.find(':') + 1)};
    std::string name;
    for (std::uint64_t count = 0; words >> name >> count;)
      if (name == value) out += count;
  }
  return out;
}

}  // namespace

bool TrackingTable::would_run_full() const {
  return known && most && std::max(tracked, expected) >= most - most / 10;
}

std::string TrackingTable::to_string() const {
  const auto beyond = forwards ? ", and those that are forwarded, which cannot be counted beforehand" : "";
  if (!known)
    return fmt::format(
        "connection tracking is switched on by this for all traffic in its network namespace: {} connections "
        "now{}; how many the kernel takes is not known before (nf_conntrack is not loaded)",
        expected, beyond);
  return fmt::format(
      "connection tracking is switched on by this, if it is not yet, for all traffic in its network "
      "namespace: {} of at most {} entries now (nf_conntrack_max), {} expected for the connections that are "
      "there{}",
      tracked, most, std::max(tracked, expected), beyond);
}

TrackingTable connection_tracking() {
  TrackingTable out;
  const auto most = number_in("/proc/sys/net/netfilter/nf_conntrack_max");
  out.known = most.has_value();
  out.most = most.value_or(0);
  out.tracked = number_in("/proc/sys/net/netfilter/nf_conntrack_count").value_or(0);
  for (auto* file : {"/proc/thread-self/net/sockstat", "/proc/thread-self/net/sockstat6"})
    out.expected += sockets(file, "inuse") + 2 * sockets(file, "tw");
  out.forwards = number_in("/proc/sys/net/ipv4/ip_forward").value_or(0) ||
                 number_in("/proc/sys/net/ipv6/conf/all/forwarding").value_or(0);
  return out;
}

// A heading, then a line for each processor, in hexadecimal.
std::uint64_t dropped_by_full_table() {
  std::istringstream lines{read_file("/proc/thread-self/net/stat/nf_conntrack").value_or("")};
  std::string line, word;
  std::getline(lines, line);
  std::istringstream heading{line};
  std::vector<std::string> names;
  while (heading >> word)
    names.push_back(word);
  const auto place = std::find(names.begin(), names.end(), "drop") - names.begin();
  std::uint64_t out = 0;
  while (std::getline(lines, line)) {
    std::istringstream words{line};
    for (std::ptrdiff_t i = 0; words >> word; ++i)
      if (i == place) out += std::strtoull(word.c_str(), nullptr, 16);
  }
  return out;
}

}  // namespace squall
