#include "injector/host/packets/fragments.hpp"

#include <sstream>
#include <string>

#include "injector/system/read_file.hpp"

namespace squall {
namespace {

// A line of names and one of figures, in /proc/net/snmp.
std::uint64_t v4(const std::string& text) {
  std::istringstream lines{text};
  std::string names, figures;
  if (!std::getline(lines, names) || !std::getline(lines, figures)) return 0;
  std::istringstream name_words{names}, figure_words{figures};
  std::uint64_t out = 0;
  for (std::string name, figure; name_words >> name && figure_words >> figure;)
    if (name == "ReasmReqds" || name == "FragCreates") out += std::stoull(figure);
  return out;
}

// A name and its figure each line, in /proc/net/snmp6.
std::uint64_t v6(const std::string& text) {
  std::istringstream lines{text};
  std::uint64_t out = 0, figure = 0;
  for (std::string name; lines >> name >> figure;)
    if (name == "Ip6ReasmReqds" || name == "Ip6FragCreates") out += figure;
  return out;
}

}  // namespace

std::uint64_t fragments_so_far() {
  return v4(read_file("/proc/thread-self/net/snmp").value_or("")) +
         v6(read_file("/proc/thread-self/net/snmp6").value_or(""));
}

}  // namespace squall
