#include "injector/system/listeners.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include <dirent.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/process.hpp"

namespace squall {
namespace {

constexpr std::string_view tcp_listen = "0A", udp_unconnected = "07";

std::string_view next_word(std::string_view& line) {
  const auto begin = std::min(line.find_first_not_of(' '), line.size());
  const auto end = std::min(line.find(' ', begin), line.size());
  const auto word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <class Number>
Number number(std::string_view text, int base) {
  Number out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out, base);
  return out;
}

// As the tables have them: each 32 bits in the byte order of the machine.
bool is_loopback(std::string_view address) {
  constexpr std::string_view v6 = "00000000000000000000000001000000", mapped = "0000000000000000FFFF0000";
  if (address.starts_with(mapped)) address.remove_prefix(mapped.size());
  return address == v6 || (address.size() == 8 && address.ends_with("7F"));
}

void read_table(const std::string& path, std::string_view wanted_state, bool udp,
                std::vector<Listener>& out) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);  // the heading
  while (std::getline(file, line)) {
    std::string_view rest = line;
    next_word(rest);
    const auto local = next_word(rest);
    next_word(rest);
    const auto state = next_word(rest);
    if (state != wanted_state) {
      // A TCP table has every listening socket before the first connection (kernel, proc_net_tcp.rst): a busy
      // host's tens of thousands of connections need not be read.
      if (!udp) return;
      continue;
    }
    for (int skipped = 0; skipped < 5; ++skipped)
      next_word(rest);
    const auto inode = number<std::uint64_t>(next_word(rest), 10);
    const auto colon = local.rfind(':');
    if (colon != std::string_view::npos && inode)
      out.push_back({number<std::uint16_t>(local.substr(colon + 1), 16), inode, udp,
                     is_loopback(local.substr(0, colon))});
  }
}

}  // namespace

std::vector<Listener> listeners_around(pid_t pid) {
  std::vector<Listener> out;
  const auto folder = fmt::format("/proc/{}/net/", live_thread(pid));
  for (auto* table : {"tcp", "tcp6"})
    read_table(folder + table, tcp_listen, false, out);
  for (auto* table : {"udp", "udp6"})
    read_table(folder + table, udp_unconnected, true, out);
  return out;
}

std::optional<std::vector<std::uint64_t>> sockets_of(pid_t pid) {
  auto* folder = ::opendir(fmt::format("/proc/{}/fd", live_thread(pid)).c_str());
  if (!folder) return {};
  std::vector<std::uint64_t> out;
  constexpr std::string_view prefix = "socket:[";
  while (auto* entry = ::readdir(folder)) {
    std::array<char, 64> target;
    const auto size = ::readlinkat(::dirfd(folder), entry->d_name, target.data(), target.size());
    const std::string_view link{target.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
    if (link.starts_with(prefix)) out.push_back(number<std::uint64_t>(link.substr(prefix.size()), 10));
  }
  ::closedir(folder);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Listener> listeners_of(pid_t pid) {
  const auto sockets = sockets_of(pid);
  if (!sockets || sockets->empty()) return {};
  std::map<std::pair<bool, std::uint16_t>, Listener> out;
  for (auto& listener : listeners_around(pid))
    if (std::binary_search(sockets->begin(), sockets->end(), listener.inode))
      out[{listener.udp, listener.port}] = listener;
  std::vector<Listener> all;
  for (auto& [which, listener] : out)
    all.push_back(listener);
  return all;
}

}  // namespace squall
