// What this program did to the host, line by line, for whoever administers it: to the host's syslog, which a
// systemd-journald hears too (syslog(3), /dev/log), and to a file where one is asked for. Standard error
// belongs to the caller of the protocol. A line is lost rather than waited for: a full disk, a missing or a
// full socket neither delay nor fail what is logged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace squall {

enum class LogLevel { debug, info, warning, error };

struct LogOptions {
  std::string name = "squall-injector";  // whose lines these are
  std::string level = "info";            // debug, info, warning, error or off
  std::string file;                      // appended to; empty: none
  std::string socket = "/dev/log";       // of the host's syslog; empty: not said there
};

// Before anything is logged; until then, lines go nowhere. Why the file cannot be written, or empty: what can
// be reached is logged to all the same. Never throws.
std::string open_log(const LogOptions&) noexcept;
// What was opened, as options for another process of ours: {"--log-level", "info", "--log-file",
// "/var/log/x"}.
std::vector<std::string> log_arguments();

// One line; what a terminal would take for more than text is escaped. Never throws, never waits.
void log_line(LogLevel, std::string_view) noexcept;

// While one lives, lines for the file are kept in memory and written at its end: where the disk itself is
// what is slow, what is undone comes first.
class HoldLogFile {
 public:
  HoldLogFile();
  ~HoldLogFile();
  HoldLogFile(const HoldLogFile&) = delete;
};

}  // namespace squall
